/* A limit of three an hour, asked by a parent and its children; every line is checked, so that it is a test as well. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tollgate.h>

#define EXPECT(what) do { if (!(what)) { fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); exit(1); } } while (0)

static struct tollgate *table;
static struct tollgate_limit *limit;

static struct tollgate_decision ask(const char *key, uint64_t cost) {
    struct tollgate_decision decision = { .size = sizeof decision };
    EXPECT(tollgate_check(table, limit, (const uint8_t *)key, strlen(key), cost, &decision) == TOLLGATE_OK);
    return decision;
}

int main(void) {
    struct tollgate_error error = { .size = sizeof error };
    struct tollgate_options options = { .size = sizeof options, .capacity = 10000 };
    if (tollgate_open(&options, &table, &error) != TOLLGATE_OK ||
        tollgate_limit_new(table, "api", "3/hour", &limit, &error) != TOLLGATE_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    for (unsigned i = 0; i < 4; i++) {
        struct tollgate_decision decision = ask("grace", 1);
        printf("%s, %llu left, again in %llu s\n", decision.allowed ? "go" : "refused", (unsigned long long)decision.remaining,
               (unsigned long long)(decision.retry_after_ns / 1000000000));
        EXPECT(decision.allowed == (i < 3) && decision.burst == 3 && decision.remaining == (i < 3 ? 2 - i : 0u));
        EXPECT(i < 3 ? decision.retry_after_ns == 0 : decision.retry_after_ns / 1000000000 / 60 == 19);
    }
    EXPECT(ask("ada", 4).retry_after_ns == UINT64_MAX); /* can never go */
    EXPECT(tollgate_refund(table, limit, (const uint8_t *)"grace", 5, 1) == TOLLGATE_OK);
    struct tollgate_decision look = { .size = sizeof look };
    EXPECT(tollgate_peek(table, limit, (const uint8_t *)"grace", 5, 1, &look) == TOLLGATE_OK && look.allowed && look.remaining == 1);
    EXPECT(ask("grace", 1).allowed && !ask("grace", 1).allowed);

    /* A child has a copy of the table, and goes on with it. */
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        EXPECT(!ask("grace", 1).allowed && ask("ada", 3).allowed && !ask("ada", 1).allowed);
        _exit(0);
    }
    int status;
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT(ask("ada", 3).allowed);

    /* Several rates of one limit: all or nothing. */
    struct tollgate_limit *both;
    EXPECT(tollgate_limit_new(table, "both", "5 per day, 2 per hour", &both, &error) == TOLLGATE_OK);
    struct tollgate_decision decision = { .size = sizeof decision };
    for (unsigned i = 0; i < 3; i++)
        EXPECT(tollgate_check(table, both, (const uint8_t *)"", 0, 1, &decision) == TOLLGATE_OK && decision.allowed == (i < 2));
    EXPECT(decision.index == 1);
    EXPECT(tollgate_peek(table, both, NULL, 0, 1, &look) == TOLLGATE_OK && !look.allowed && look.index == 1 && look.retry_after_ns != 0);

    /* What is wrong is said, and never admitted. */
    struct tollgate_limit *none = NULL;
    EXPECT(tollgate_limit_new(table, "api", "3 per fortnight or so", &none, &error) == TOLLGATE_ERROR_RATE && none == NULL);
    printf("%s\n", error.text);
    EXPECT(error.code == TOLLGATE_ERROR_RATE && strlen(error.text) > 0);
    EXPECT(tollgate_limit_new(table, "\xff", "3/hour", &none, NULL) == TOLLGATE_ERROR_ARGUMENT);
    EXPECT(tollgate_check(NULL, limit, (const uint8_t *)"a", 1, 1, &decision) == TOLLGATE_ERROR_ARGUMENT && !decision.allowed);
    EXPECT(tollgate_check(table, limit, NULL, 1, 1, &decision) == TOLLGATE_ERROR_ARGUMENT);
    EXPECT(tollgate_check(table, limit, (const uint8_t *)"a", 1, 1, NULL) == TOLLGATE_ERROR_ARGUMENT);
    decision.size--;
    EXPECT(tollgate_check(table, limit, (const uint8_t *)"a", 1, 1, &decision) == TOLLGATE_ERROR_ARGUMENT);
    struct tollgate *other = NULL;
    options.path = "/proc/self/exe"; /* no table, and not on a tmpfs */
    EXPECT(tollgate_open(&options, &other, &error) == TOLLGATE_ERROR_SHARED && other == NULL && strstr(error.text, "/proc/self/exe"));
    options.path = NULL, options.capacity = UINT64_MAX;
    EXPECT(tollgate_open(&options, &other, &error) == TOLLGATE_ERROR_TABLE && other == NULL);
    options.size = 7;
    EXPECT(tollgate_open(&options, &other, &error) == TOLLGATE_ERROR_ARGUMENT && other == NULL);
    /* A limit of another table is refused. */
    EXPECT(tollgate_open(NULL, &other, NULL) == TOLLGATE_OK);
    decision.size = sizeof decision;
    EXPECT(tollgate_check(other, limit, (const uint8_t *)"a", 1, 1, &decision) == TOLLGATE_OK && !decision.allowed);
    tollgate_close(other);
    tollgate_limit_free(both);
    tollgate_limit_free(limit);
    tollgate_close(table);
    tollgate_close(NULL);
    return 0;
}
