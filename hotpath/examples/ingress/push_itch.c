/* push_itch.c: a feed handler in C: pushes a file of length-prefixed ITCH into an engine's ingress.
 *
 *   apt-get install libzmq3-dev
 *   cc -O2 -std=gnu11 push_itch.c -lzmq -o push_itch
 *   ./push_itch ipc:///path/of/ENGINE.ingress SENDER FILE [messages a frame]
 *
 * It begins a session, pushes every message with at most WINDOW unanswered ones under way, begins again where
 * the engine asks for a new session, and ends in order. Format: docs/ingress.md; integers are little-endian.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#define WINDOW 8192
#define FRAME_BYTES 65536
#define WAIT_MS 100
#define PATIENCE 100 /* waits without an answer, until it gives up */

enum kind { SESSION = 1, RAW = 2, HEARTBEAT = 4, END = 5 };
enum status { TAKEN, DUPLICATE, GAP, SESSION_WANTED };

typedef struct {
    char magic[4];
    uint16_t version;
    uint8_t kind, reserved0;
    char sender[16];
    uint64_t session, sequence;
    uint32_t count, size;
    uint64_t reserved[2];
} frame_head;

typedef struct {
    char magic[4];
    uint16_t version;
    uint8_t status, reserved0;
    char sender[16];
    uint64_t session, next, credit;
    uint64_t reserved[2];
} answer;

_Static_assert(sizeof(frame_head) == 64 && sizeof(answer) == 64, "as docs/ingress.md has them");

typedef struct {
    void *socket;
    char name[16];
    uint64_t session, sequence, taken;
} sender;

static void die(const char *what) {
    fprintf(stderr, "push_itch: %s: %s\n", what, zmq_strerror(errno));
    exit(1);
}

/* Waits while the engine's ring and every queue on the way are full. */
static void send_frame(sender *self, enum kind kind, const uint8_t *payload, uint32_t size, uint32_t count) {
    static uint8_t frame[sizeof(frame_head) + FRAME_BYTES];
    frame_head head = {.magic = {'H', 'P', 'I', 'N'},
                       .version = 1,
                       .kind = (uint8_t)kind,
                       .session = self->session,
                       .sequence = self->sequence,
                       .count = count,
                       .size = size};
    memcpy(head.sender, self->name, sizeof head.sender);
    memcpy(frame, &head, sizeof head);
    if (size) memcpy(frame + sizeof head, payload, size);
    if (zmq_send(self->socket, frame, sizeof head + size, 0) < 0) die("send");
}

static void session_begin(sender *self) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t number = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    self->session = number > self->session ? number : self->session + 1; /* each above the last */
    self->sequence = self->taken = 1;
    send_frame(self, SESSION, NULL, 0, 0);
}

/* Reads what answers have come. 1: go on, 0: a new session is wanted. */
static int answers_read(sender *self, long wait_ms) {
    answer reply;
    zmq_pollitem_t item = {.socket = self->socket, .events = ZMQ_POLLIN};
    while (zmq_poll(&item, 1, wait_ms) > 0) {
        if (zmq_recv(self->socket, &reply, sizeof reply, 0) != sizeof reply || memcmp(reply.magic, "HPIA", 4) != 0)
            die("no answer of an ingress");
        wait_ms = 0;
        if (reply.session != self->session) continue; /* to a frame of an earlier session */
        if (reply.status == GAP || reply.status == SESSION_WANTED) return 0;
        if (reply.status > SESSION_WANTED) {
            fprintf(stderr, "push_itch: refused, status %u\n", reply.status);
            exit(1);
        }
        if (reply.next > self->taken) self->taken = reply.next;
    }
    return 1;
}

/* Until at most `under_way` messages are unanswered; heartbeats ask for an answer that was lost. */
static int answers_await(sender *self, uint64_t under_way) {
    for (int waits = 0; self->sequence - self->taken > under_way; waits++) {
        uint64_t before = self->taken;
        if (!answers_read(self, WAIT_MS)) return 0;
        if (self->taken != before) waits = 0;
        else send_frame(self, HEARTBEAT, NULL, 0, 0);
        if (waits > PATIENCE) {
            errno = ETIMEDOUT;
            die("no answer");
        }
    }
    return answers_read(self, 0);
}

/* The bytes of at most `count_max` messages that fit one frame, prefixes and all: as they lie in the file. */
static uint32_t frame_fill(const uint8_t *bytes, uint64_t size, uint32_t count_max, uint32_t *count) {
    uint32_t used = 0;
    for (*count = 0; *count < count_max && used + 2 <= size; ++*count) {
        uint32_t length = (uint32_t)bytes[used] << 8 | bytes[used + 1];
        if (length == 0 || used + 2 + length > size || used + 2 + length > FRAME_BYTES) break;
        used += 2 + length;
    }
    return used;
}

static int push(sender *self, const uint8_t *bytes, uint64_t size, uint32_t per_frame) {
    session_begin(self);
    for (uint64_t at = 0;;) {
        uint32_t count, used = frame_fill(bytes + at, size - at, per_frame, &count);
        if (!count) break;
        send_frame(self, RAW, bytes + at, used, count);
        self->sequence += count;
        at += used;
        if (!answers_await(self, WINDOW)) return 0;
    }
    if (!answers_await(self, 0)) return 0;
    send_frame(self, END, NULL, 0, 0);
    return 1;
}

static uint8_t *file_read(const char *path, uint64_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) die(path);
    long length = ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(length > 0 ? (size_t)length : 1);
    if (!bytes || length < 0 || fread(bytes, 1, (size_t)length, file) != (size_t)length) die(path);
    (void)fclose(file);
    *size = (uint64_t)length;
    return bytes;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s ENDPOINT SENDER FILE [MESSAGES_A_FRAME]\n", argv[0]);
        return 2;
    }
    sender self = {0};
    uint64_t size;
    uint8_t *bytes = file_read(argv[3], &size);
    uint32_t per_frame = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 100;
    void *context = zmq_ctx_new();
    self.socket = zmq_socket(context, ZMQ_DEALER);
    strncpy(self.name, argv[2], sizeof self.name - 1);
    int linger_ms = 1000;
    zmq_setsockopt(self.socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    if (zmq_connect(self.socket, argv[1]) < 0) die(argv[1]);
    while (!push(&self, bytes, size, per_frame)) continue; /* the whole file is our snapshot */
    printf("%llu messages taken\n", (unsigned long long)(self.sequence - 1));
    zmq_close(self.socket);
    zmq_ctx_term(context);
    free(bytes);
    return 0;
}
