/* Transfers between two PostgreSQL clusters by PREPARE TRANSACTION, as cheap for the processors as pgbench.
 *
 *     two_phase CONNINFO-A CONNINFO-B CLIENTS SECONDS ACCOUNTS LOG
 *
 * One thread and one epoll for all connections; each client has one connection to either cluster. A transfer:
 *
 *     A: BEGIN, SELECT .. FOR UPDATE, UPDATE, PREPARE TRANSACTION   | both at the same time
 *     B: BEGIN, SELECT .. FOR UPDATE, UPDATE, PREPARE TRANSACTION   |
 *     A: COMMIT PREPARED                                            | once both are prepared, again both at
 *     B: COMMIT PREPARED                                            | the same time
 *
 * Every statement is prepared, that is parsed once in a connection; names of transactions are used again for that.
 * A transfer that a side refused for the sake of isolation is rolled back on both and tried again. The log has a
 * line for each transfer, in the format of pgbench's: client, number, microseconds, 0, and when it ended.
 *
 * Not here: a coordinator that survives. A real one would have to sync a decision of its own. */
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

enum step { BEGIN, READ, WRITE, PREPARE, COMMIT_PREPARED, ROLLBACK, ROLLBACK_PREPARED, STEPS };
enum outcome { PENDING, PREPARED, REFUSED, DONE };

struct client;

/* What a client does on one cluster. */
struct side {
    struct client *client;
    PGconn *connection;
    enum step step;
    enum outcome outcome;
    int has_failed;
    char id[12], amount[12];
};

struct client {
    struct side sides[2];
    int number;
    uint64_t transfers;
    struct timespec begun;
};

/* A transfer that committed. */
struct entry {
    int client;
    uint64_t number, micros;
    struct timespec ended;
};

static struct entry *entries;
static size_t entries_used, entries_room;
static uint64_t random_state;
static unsigned accounts;
static struct timespec deadline;
static int working;

static void die(const char *what, const char *why) {
    fprintf(stderr, "two_phase: %s: %s\n", what, why);
    exit(1);
}

/* xorshift64*. */
static unsigned draw(unsigned below) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (unsigned)((random_state * 2685821657736338717ULL) >> 33) % below;
}

static struct timespec now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time;
}

static int64_t micros_between(struct timespec from, struct timespec to) {
    return (to.tv_sec - from.tv_sec) * 1000000LL + (to.tv_nsec - from.tv_nsec) / 1000;
}

static void send_step(struct side *side, enum step step) {
    static const char *const names[STEPS] = {"begin", "read", "write", "prepare", "commit", "back", "back2"};
    const char *values[2] = {side->id, side->amount};
    int count = step == READ ? 1 : step == WRITE ? 2 : 0;
    side->step = step;
    if (!PQsendQueryPrepared(side->connection, names[step], count, values, NULL, NULL, 0))
        die("sending", PQerrorMessage(side->connection));
}

static void begin_both(struct client *client) {
    for (int i = 0; i < 2; i++) {
        client->sides[i].outcome = PENDING;
        send_step(&client->sides[i], BEGIN);
    }
}

static void begin_transfer(struct client *client) {
    client->begun = now();
    if (micros_between(client->begun, deadline) <= 0) {
        working--;
        return;
    }
    int amount = (int)draw(21) - 10;
    for (int i = 0; i < 2; i++) {
        struct side *side = &client->sides[i];
        snprintf(side->id, sizeof side->id, "%u", 1 + draw(accounts));
        snprintf(side->amount, sizeof side->amount, "%d", i == 0 ? -amount : amount);
    }
    begin_both(client);
}

static void record(struct client *client) {
    if (entries_used == entries_room) {
        entries_room = entries_room ? 2 * entries_room : 1 << 16;
        entries = realloc(entries, entries_room * sizeof *entries);
        if (!entries) die("recording", "out of memory");
    }
    struct timespec ended = now();
    uint64_t micros = (uint64_t)micros_between(client->begun, ended);
    entries[entries_used++] = (struct entry){client->number, client->transfers++, micros, ended};
}

/* Both sides have come to an end of what they did: goes on with both. */
static void both_settled(struct client *client) {
    struct side *a = &client->sides[0], *b = &client->sides[1];
    if (a->outcome == PREPARED && b->outcome == PREPARED) {
        for (int i = 0; i < 2; i++) {
            client->sides[i].outcome = PENDING;
            send_step(&client->sides[i], COMMIT_PREPARED);
        }
    } else if (a->outcome == DONE && b->outcome == DONE) {
        record(client);
        begin_transfer(client);
    } else if (a->outcome == REFUSED && b->outcome == REFUSED) {
        begin_both(client);
    } else {
        struct side *prepared = a->outcome == PREPARED ? a : b;
        prepared->outcome = PENDING;
        send_step(prepared, ROLLBACK_PREPARED);
    }
}

static int is_retryable(const PGresult *result) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return state && (!strcmp(state, "40001") || !strcmp(state, "40P01") || !strcmp(state, "55P03"));
}

/* The statement that `side` waited for has been answered. */
static void answered(struct side *side) {
    if (side->has_failed) {
        side->has_failed = 0;
        send_step(side, ROLLBACK);
        return;
    }
    switch (side->step) {
    case BEGIN: send_step(side, READ); return;
    case READ: send_step(side, WRITE); return;
    case WRITE: send_step(side, PREPARE); return;
    case PREPARE: side->outcome = PREPARED; break;
    case COMMIT_PREPARED: side->outcome = DONE; break;
    case ROLLBACK:
    case ROLLBACK_PREPARED: side->outcome = REFUSED; break;
    case STEPS: die("answered", "no such step");
    }
    if (side->client->sides[0].outcome != PENDING && side->client->sides[1].outcome != PENDING)
        both_settled(side->client);
}

static void readable(struct side *side) {
    if (!PQconsumeInput(side->connection)) die("reading", PQerrorMessage(side->connection));
    while (!PQisBusy(side->connection)) {
        PGresult *result = PQgetResult(side->connection);
        if (!result) {
            answered(side);
            return;
        }
        ExecStatusType status = PQresultStatus(result);
        int is_good = status == PGRES_COMMAND_OK || (status == PGRES_TUPLES_OK && PQntuples(result) == 1);
        if (side->step == WRITE && is_good) is_good = !strcmp(PQcmdTuples(result), "1");
        if (!is_good) {
            if (side->step > PREPARE || !is_retryable(result)) die("a statement", PQresultErrorMessage(result));
            side->has_failed = 1;
        }
        PQclear(result);
    }
}

static void prepare(PGconn *connection, const char *name, const char *statement) {
    PGresult *result = PQprepare(connection, name, statement, 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) die(statement, PQresultErrorMessage(result));
    PQclear(result);
}

static void quiet(void *context, const PGresult *notice) {
    (void)context;
    (void)notice;
}

static void open_side(struct side *side, struct client *client, const char *conninfo, int epoll) {
    static const char *const formats[] = {"PREPARE TRANSACTION 'client-%d'", "COMMIT PREPARED 'client-%d'",
                                          "ROLLBACK PREPARED 'client-%d'"};
    static const char *const names[] = {"prepare", "commit", "back2"};
    side->client = client;
    side->connection = PQconnectdb(conninfo);
    if (PQstatus(side->connection) != CONNECTION_OK) die("connecting", PQerrorMessage(side->connection));
    PQsetNoticeReceiver(side->connection, quiet, NULL);
    prepare(side->connection, "begin", "BEGIN");
    prepare(side->connection, "back", "ROLLBACK");
    prepare(side->connection, "read", "SELECT balance FROM accounts WHERE id = $1::int FOR UPDATE");
    prepare(side->connection, "write", "UPDATE accounts SET balance = balance + $2::int WHERE id = $1::int");
    for (int i = 0; i < 3; i++) {
        char statement[64];
        snprintf(statement, sizeof statement, formats[i], client->number);
        prepare(side->connection, names[i], statement);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = side};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, PQsocket(side->connection), &event)) die("epoll_ctl", "failed");
}

int main(int argc, char **argv) {
    if (argc != 7) die("usage", "two_phase CONNINFO-A CONNINFO-B CLIENTS SECONDS ACCOUNTS LOG");
    int count = atoi(argv[3]), epoll = epoll_create1(0);
    struct client *clients = calloc((size_t)count, sizeof *clients);
    accounts = (unsigned)atoi(argv[5]);
    FILE *log = fopen(argv[6], "w");
    if (count < 1 || accounts < 1 || epoll < 0 || !clients || !log) die("starting", "an argument is bad");
    for (int n = 0; n < count; n++) {
        clients[n].number = n;
        for (int i = 0; i < 2; i++) open_side(&clients[n].sides[i], &clients[n], argv[1 + i], epoll);
    }
    deadline = now();
    random_state = (uint64_t)deadline.tv_nsec * 2862933555777941757ULL + 1;
    deadline.tv_sec += atoi(argv[4]);
    /* Who starts this learns when the work begins. */
    puts("connected");
    fflush(stdout);
    working = count;
    for (int n = 0; n < count; n++) begin_transfer(&clients[n]);
    while (working > 0) {
        struct epoll_event events[64];
        int ready = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < ready; i++) readable(events[i].data.ptr);
    }
    for (size_t i = 0; i < entries_used; i++) {
        struct entry *e = &entries[i];
        fprintf(log, "%d %llu %llu 0 %lld %ld\n", e->client, (unsigned long long)e->number,
                (unsigned long long)e->micros, (long long)e->ended.tv_sec, e->ended.tv_nsec / 1000);
    }
    return fclose(log) ? 1 : 0;
}
