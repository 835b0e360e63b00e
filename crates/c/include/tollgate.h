// libtollgate: a rate limiter that never admits more than its limit. Made by cbindgen from crates/c; do not edit.

#ifndef TOLLGATE_H
#define TOLLGATE_H

#include <stddef.h>
#include <stdint.h>

// Done.
#define TOLLGATE_OK 0

// A pointer is null, a size is unknown, or a text is not UTF-8.
#define TOLLGATE_ERROR_ARGUMENT 1

// A rate cannot be read, or cannot be held.
#define TOLLGATE_ERROR_RATE 2

// The table cannot be made: capacity, memory, or the operating system's random numbers.
#define TOLLGATE_ERROR_TABLE 3

// Not on this system: tables that processes share are on Linux with 64 bits only.
#define TOLLGATE_ERROR_UNSUPPORTED 4

// A defect of the library: nothing was admitted.
#define TOLLGATE_ERROR_PANIC 5

// The table at options.path can be neither made nor used; the text has the path, what was found there, and what was expected.
#define TOLLGATE_ERROR_SHARED 6

// A new key that finds no room takes the place and the debt of the one nearest to full.
#define TOLLGATE_FULL_EVICT 0

// It is refused.
#define TOLLGATE_FULL_REFUSE 1

// It is admitted, and not recorded.
#define TOLLGATE_FULL_ADMIT 2

// One rate or several, all of which a request must pass.
struct tollgate_limit;

// A table of buckets.
struct tollgate;

// How a table is to be. Set all to zero, then `size`, then what is to be otherwise than by default.
struct tollgate_options {
  // sizeof(struct tollgate_options).
  size_t size;
  // How many keys may be busy at once; 0: 65,536.
  uint64_t capacity;
  // The file of a table that all processes of the machine share which name it: on a tmpfs such as /run, made if there is none.
  // Capacity and on_full must then be those of the table. Null: a table of this process alone.
  const char *path;
  // Rates that will be given later, so that they are held exactly: "300/second, 11/second", or null.
  const char *exact_for;
  // One of TOLLGATE_FULL_EVICT, TOLLGATE_FULL_REFUSE, TOLLGATE_FULL_ADMIT.
  uint32_t on_full;
  // 0.
  uint32_t reserved;
};

// What went wrong, in words. Set `size` before the call.
struct tollgate_error {
  // sizeof(struct tollgate_error).
  size_t size;
  // The code that the function answers as well.
  int code;
  // One line that ends with a zero, cut if it is longer.
  char text[252];
};

// The answer to a check. Set `size` before the call.
struct tollgate_decision {
  // sizeof(struct tollgate_decision).
  size_t size;
  // 1: it may go. 0: it may not.
  uint32_t allowed;
  // Which rate of the limit says so, from 0: the one that is refused, or else has least left.
  uint32_t index;
  // How many more requests of cost 1 may go now.
  uint64_t remaining;
  // The most that fits at once.
  uint64_t burst;
  // When a refused request may go, in nanoseconds from now; 0 if it is allowed, UINT64_MAX if it can never go.
  uint64_t retry_after_ns;
};

// What one request needs of one limit. Set `size` of each.
struct tollgate_item {
  // sizeof(struct tollgate_item).
  size_t size;
  // The limit, one rate or several.
  const struct tollgate_limit *limit;
  // The key under that limit: so many bytes, or null for none.
  const uint8_t *key;
  // How many bytes.
  size_t length;
  // What the request costs there.
  uint64_t cost;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Makes a table, and puts it into `*table`. `options` may be null: all by default.
//
// `table` points to a pointer, `options` to a struct of which `size` is set, its texts end with a zero; `error` may be null.
int tollgate_open(const struct tollgate_options *options,
                  struct tollgate **table,
                  struct tollgate_error *error);

// Closes a table; no other call may use it, then or later. Its limits are freed by themselves. Null is nothing.
void tollgate_close(struct tollgate *table);

// Puts 1 into `*detached` if the file of a table with a path is another's by now, or nobody's: then processes that open the path from now
// on count beside this one, so close the table and open it anew. Else 0, as of a table of this process alone. A system call: ask now and then.
int tollgate_is_detached(const struct tollgate *table,
                         uint32_t *detached);

// Makes a limit of this table from a rate or several, "200 per day, 50 per hour", under a name, and puts it into `*limit`.
// The same name and rate are the same buckets. For this table only: others refuse.
int tollgate_limit_new(const struct tollgate *table,
                       const char *name,
                       const char *rates,
                       struct tollgate_limit **limit,
                       struct tollgate_error *error);

// Frees a limit; no other call may use it, then or later. Null is nothing.
void tollgate_limit_free(struct tollgate_limit *limit);

// Admits a request of the key that costs `cost` tokens of every rate of the limit, or takes nothing.
//
// The answer is in `*decision`; anything but TOLLGATE_OK means that nothing was decided, and `allowed` is 0. No allocation, no lock.
int tollgate_check(const struct tollgate *table,
                   const struct tollgate_limit *limit,
                   const uint8_t *key,
                   size_t length,
                   uint64_t cost,
                   struct tollgate_decision *decision);

// What `tollgate_check` would answer to a request of that cost; takes nothing.
int tollgate_peek(const struct tollgate *table,
                  const struct tollgate_limit *limit,
                  const uint8_t *key,
                  size_t length,
                  uint64_t cost,
                  struct tollgate_decision *decision);

// Gives back `cost` tokens of every rate of the limit, at most to full.
int tollgate_refund(const struct tollgate *table,
                    const struct tollgate_limit *limit,
                    const uint8_t *key,
                    size_t length,
                    uint64_t cost);

// Admits a request under several limits that have keys and costs of their own, as per address, per user and for all together: takes of all,
// or of none.
//
// `items` points to `count` of them, at least 1; all their rates together may be 32. `decision->index` is that of an item, the figures are
// those of its rate that is refused, or has least left. Else as `tollgate_check`.
int tollgate_check_items(const struct tollgate *table,
                         const struct tollgate_item *items,
                         size_t count,
                         struct tollgate_decision *decision);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TOLLGATE_H */
