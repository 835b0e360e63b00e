/* A limit of 1,000 a day that is shared by all processes on one path: asks 900 times itself and 900 times in a child, and says how
   many went. Run twice at once, the two say 1,000 together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tollgate.h>

#define EXPECT(what) do { if (!(what)) { fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); exit(1); } } while (0)

static int admitted(const struct tollgate *table, const struct tollgate_limit *limit) {
    int count = 0;
    for (int i = 0; i < 900; i++) {
        struct tollgate_decision decision = { .size = sizeof decision };
        EXPECT(tollgate_check(table, limit, (const uint8_t *)"grace", 5, 1, &decision) == TOLLGATE_OK);
        EXPECT(decision.burst == 1000);
        count += decision.allowed;
        if (i % 50 == 0)
            usleep(1000); /* so that they are in each other's way */
    }
    return count;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: shared PATH, of a file on a tmpfs\n");
        return 2;
    }
    struct tollgate_error error = { .size = sizeof error };
    struct tollgate_options options = { .size = sizeof options, .path = argv[1], .exact_for = "1000/day" };
    struct tollgate *table = NULL, *other = NULL;
    struct tollgate_limit *limit = NULL;
    if (tollgate_open(&options, &table, &error) != TOLLGATE_OK ||
        tollgate_limit_new(table, "api", "1000/day", &limit, &error) != TOLLGATE_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    /* One table is of one capacity, and what else is wrong is said with the path. */
    options.capacity = 77;
    EXPECT(tollgate_open(&options, &other, &error) == TOLLGATE_ERROR_SHARED && other == NULL && error.code == TOLLGATE_ERROR_SHARED);
    EXPECT(strstr(error.text, argv[1]) && strstr(error.text, "65536") && strstr(error.text, "77"));
    options.path = "/dev/shm/no/such/directory/table";
    EXPECT(tollgate_open(&options, &other, &error) == TOLLGATE_ERROR_SHARED && other == NULL && strstr(error.text, "no such file"));
    options.path = "";
    EXPECT(tollgate_open(&options, &other, &error) == TOLLGATE_ERROR_ARGUMENT && other == NULL);

    /* A child asks the same table. */
    int pipes[2];
    EXPECT(pipe(pipes) == 0);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        int count = admitted(table, limit);
        tollgate_limit_free(limit);
        tollgate_close(table); /* its own copy: the parent goes on */
        _exit(write(pipes[1], &count, sizeof count) == sizeof count ? 0 : 1);
    }
    int here = admitted(table, limit), there = 0, status;
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT(read(pipes[0], &there, sizeof there) == sizeof there);
    struct tollgate_decision decision = { .size = sizeof decision };
    EXPECT(tollgate_check(table, limit, (const uint8_t *)"grace", 5, 1, &decision) == TOLLGATE_OK && !decision.allowed);
    printf("%d\n", here + there);
    tollgate_limit_free(limit);
    tollgate_close(table);
    return 0;
}
