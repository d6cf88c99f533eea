/* session.c: a SoupBinTCP client that never blocks. See include/session.h.
 *
 * The one file of the kernels that makes system calls: send, recv, connect, and what a connection
 * needs around them. Each is counted in GATEWAY_SYSTEM_CALLS.
 */
#include "session.h"
#include "soup.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SESSION_NAME_SIZE 10
#define CONNECT_CHECK_NS 100000

static void call(session *self) { self->counter[GATEWAY_SYSTEM_CALLS]++; }

void session_init(session *self, const session_config *config, uint8_t *buffers, uint64_t *counter) {
    memset(self, 0, sizeof *self);
    self->config = *config;
    self->send = buffers;
    self->receive = buffers + config->send_bytes;
    self->counter = counter;
    self->fd = -1;
    self->state = SESSION_DISCONNECTED;
    self->reason = SESSION_STARTED;
    self->backoff_ns = config->backoff_ns_min;
    self->starved = 1;
    memset(self->name, ' ', SESSION_NAME_SIZE);
}

/* ---- connection ---------------------------------------------------------------------------------- */

/* What was queued and had not left is forgotten: an order's fate is then for the recovery to settle. */
static void disconnect(session *self) {
    if (self->fd >= 0) {
        close(self->fd);
        call(self);
    }
    self->fd = -1;
    self->send_head = self->send_tail = self->send_begun = self->queued_bytes = self->order_bytes = 0;
    self->receive_head = self->receive_tail = 0;
    self->starved = 1;
}

void session_fail(session *self, uint32_t reason, uint64_t now_ns) {
    if (self->state == SESSION_CLOSED) return;
    if (self->state >= SESSION_LOGGING_IN) self->counter[GATEWAY_DISCONNECTS]++;
    disconnect(self);
    self->reason = reason;
    if (reason >= SESSION_REFUSED) {
        self->state = SESSION_CLOSED;
        return;
    }
    self->state = SESSION_DISCONNECTED;
    self->deadline_time_ns = now_ns + self->backoff_ns;
    self->backoff_ns = self->backoff_ns * 2 < self->config.backoff_ns_max ? self->backoff_ns * 2 : self->config.backoff_ns_max;
}

static void login(session *self, uint64_t now_ns, uint64_t request_sequence) {
    soup_login request;
    memset(&request, 0, sizeof request);
    memcpy(request.username, self->config.username, sizeof request.username);
    memcpy(request.password, self->config.password, sizeof request.password);
    memcpy(request.session, self->name, sizeof request.session);
    request.sequence = request_sequence;
    self->state = SESSION_LOGGING_IN;
    self->next_sequence = request_sequence;
    self->heartbeats_heard = 0;
    self->heard_time_ns = self->sent_time_ns = now_ns;
    self->deadline_time_ns = now_ns + self->config.login_timeout_ns;
    self->queued_bytes = self->send_tail = soup_login_encode(&request, self->send, self->config.send_bytes);
}

static void connect_start(session *self, uint64_t now_ns) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(self->config.port);
    self->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    call(self);
    if (self->fd < 0 || inet_pton(AF_INET, self->config.address, &address.sin_addr) != 1) {
        session_fail(self, SESSION_CONNECT_FAILED, now_ns);
        return;
    }
    int one = 1;
    int size = (int)self->config.socket_send_bytes;
    int status = setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const struct linger reset = {1, 0}; /* what the peer has not got by the end of this process, it never gets */
    status |= setsockopt(self->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (size) status |= setsockopt(self->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    status |= connect(self->fd, (const struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS;
    call(self);
    if (status != 0) {
        session_fail(self, SESSION_CONNECT_FAILED, now_ns);
        return;
    }
    self->state = SESSION_CONNECTING;
    self->deadline_time_ns = now_ns + self->config.connect_timeout_ns;
    self->check_time_ns = now_ns;
}

static void connect_check(session *self, uint64_t now_ns, uint64_t request_sequence) {
    if (now_ns < self->check_time_ns) return;
    self->check_time_ns = now_ns + CONNECT_CHECK_NS;
    struct pollfd poller = {self->fd, POLLOUT, 0};
    call(self);
    if (poll(&poller, 1, 0) <= 0) {
        if (now_ns >= self->deadline_time_ns) session_fail(self, SESSION_CONNECT_TIMEOUT, now_ns);
        return;
    }
    int error = 0;
    socklen_t size = sizeof error;
    call(self);
    if (getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
        session_fail(self, SESSION_CONNECT_FAILED, now_ns);
        return;
    }
    login(self, now_ns, request_sequence);
}

/* ---- time ---------------------------------------------------------------------------------------- */

static void keep_alive(session *self, uint64_t now_ns) {
    if (!self->starved) self->heard_time_ns = now_ns; /* it is we who do not listen */
    if (now_ns >= self->heard_time_ns + self->config.silence_ns) {
        session_fail(self, SESSION_SILENT, now_ns);
        return;
    }
    if (now_ns < self->sent_time_ns + self->config.heartbeat_ns || self->send_tail != self->send_head) return;
    uint8_t heartbeat[SOUP_HEADER_SIZE];
    if (!session_queue(self, heartbeat, soup_encode(SOUP_CLIENT_HEARTBEAT, NULL, 0, heartbeat, sizeof heartbeat))) return;
    self->counter[GATEWAY_HEARTBEATS_OUT]++;
}

void session_tick(session *self, uint64_t now_ns, uint64_t request_sequence) {
    switch (self->state) {
    case SESSION_DISCONNECTED:
        if (now_ns >= self->deadline_time_ns) connect_start(self, now_ns);
        break;
    case SESSION_CONNECTING: connect_check(self, now_ns, request_sequence); break;
    case SESSION_LOGGING_IN:
        if (now_ns >= self->deadline_time_ns) session_fail(self, SESSION_LOGIN_TIMEOUT, now_ns);
        break;
    case SESSION_RECOVERING:
    case SESSION_UP: keep_alive(self, now_ns); break;
    default: break;
    }
}

void session_raise(session *self) {
    if (self->state != SESSION_RECOVERING) return;
    self->state = SESSION_UP;
    self->reason = SESSION_REASON_NONE;
    self->backoff_ns = self->config.backoff_ns_min;
}

/* ---- out ----------------------------------------------------------------------------------------- */

int session_room(const session *self, uint32_t length) {
    return self->state >= SESSION_LOGGING_IN && self->state <= SESSION_UP &&
           self->send_tail - self->send_head + length <= self->config.send_bytes;
}

int session_queue(session *self, const uint8_t *bytes, uint32_t length) {
    if (!session_room(self, length)) return 0;
    if (self->send_tail + length > self->config.send_bytes) {
        memmove(self->send, self->send + self->send_head, self->send_tail - self->send_head);
        self->send_tail -= self->send_head;
        self->send_head = 0;
    }
    memcpy(self->send + self->send_tail, bytes, length);
    self->send_tail += length;
    self->queued_bytes += length;
    return 1;
}

/* How much of the packet that is cut here has yet to leave; `sent` bytes from send_head have. */
static uint64_t packet_rest(const session *self, uint64_t sent) {
    uint64_t at = self->send_begun;
    while (at < sent) {
        const uint8_t *packet = self->send + self->send_head + at;
        at += 2u + ((uint64_t)packet[0] << 8 | packet[1]);
    }
    return at - sent;
}

void session_flush(session *self, uint64_t now_ns) {
    if (self->fd < 0 || self->state == SESSION_CONNECTING || self->send_head == self->send_tail) return;
    call(self);
    ssize_t sent = send(self->fd, self->send + self->send_head, self->send_tail - self->send_head, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) session_fail(self, SESSION_SOCKET_ERROR, now_ns);
        return;
    }
    self->counter[GATEWAY_BYTES_OUT] += (uint64_t)sent;
    self->sent_time_ns = now_ns;
    if (self->send_head + (uint64_t)sent == self->send_tail) {
        self->send_head = self->send_tail = self->send_begun = 0;
        return;
    }
    self->send_begun = packet_rest(self, (uint64_t)sent);
    self->send_head += (uint64_t)sent;
}

uint64_t session_in_flight(session *self) {
    if (self->fd < 0) return 0;
    int queued = 0;
    call(self);
    if (ioctl(self->fd, SIOCOUTQ, &queued) != 0) return UINT64_MAX; /* not known is not none */
    return (uint64_t)queued + (self->send_tail - self->send_head);
}

int session_queued(const session *self, uint64_t *at, session_message *message) {
    if (*at < self->send_begun) *at = self->send_begun;
    soup_packet packet;
    const uint8_t *queued = self->send + self->send_head + *at;
    if (self->send_head + *at >= self->send_tail) return 0;
    if (soup_parse(queued, self->send_tail - self->send_head - *at, &packet) != SOUP_OK) return 0;
    message->payload = packet.payload;
    message->length = packet.type == SOUP_UNSEQUENCED ? packet.length : 0;
    message->size = packet.size;
    message->sequence = 0;
    *at += packet.size;
    return 1;
}

void session_discard(session *self, uint64_t *at, const session_message *message) {
    uint64_t after = self->send_head + *at;
    *at -= message->size;
    memmove(self->send + self->send_head + *at, self->send + after, self->send_tail - after);
    self->send_tail -= message->size;
    self->queued_bytes -= message->size;
}

void session_logout(session *self, uint64_t now_ns) {
    uint8_t packet[SOUP_HEADER_SIZE];
    uint32_t length = soup_encode(SOUP_LOGOUT_REQUEST, NULL, 0, packet, sizeof packet);
    if (session_queue(self, packet, length)) session_flush(self, now_ns);
    const struct linger orderly = {0, 0}; /* the peer is to hear it */
    if (self->fd >= 0 && self->send_head == self->send_tail) setsockopt(self->fd, SOL_SOCKET, SO_LINGER, &orderly, sizeof orderly);
    session_fail(self, SESSION_LOGGED_OUT, now_ns);
}

/* ---- in ------------------------------------------------------------------------------------------ */

uint64_t session_receive(session *self, uint64_t now_ns) {
    if (self->fd < 0 || self->state == SESSION_CONNECTING || !self->starved) return 0;
    /* Less than one packet is left: move it to the front, so that any packet fits behind it. */
    memmove(self->receive, self->receive + self->receive_head, self->receive_tail - self->receive_head);
    self->receive_tail -= self->receive_head;
    self->receive_head = 0;
    call(self);
    ssize_t received = recv(self->fd, self->receive + self->receive_tail, self->config.receive_bytes - self->receive_tail, MSG_DONTWAIT);
    if (received > 0) {
        self->receive_tail += (uint64_t)received;
        self->counter[GATEWAY_BYTES_IN] += (uint64_t)received;
        self->heard_time_ns = now_ns;
        self->starved = 0;
        return (uint64_t)received;
    }
    if (received == 0) session_fail(self, SESSION_PEER_CLOSED, now_ns);
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) session_fail(self, SESSION_SOCKET_ERROR, now_ns);
    return 0;
}

static void accept_login(session *self, const soup_packet *packet, uint64_t now_ns) {
    char name[SESSION_NAME_SIZE];
    uint64_t sequence;
    if (soup_accept_decode(packet, name, &sequence) != SOUP_OK) {
        session_fail(self, SESSION_MALFORMED, now_ns);
        return;
    }
    static const char blank[SESSION_NAME_SIZE] = "          ";
    int named = memcmp(self->name, blank, sizeof blank) != 0;
    if (named && memcmp(self->name, name, sizeof name) != 0) session_fail(self, SESSION_OTHER_SESSION, now_ns);
    else if (sequence > self->next_sequence) session_fail(self, SESSION_SEQUENCE_GAP, now_ns);
    else if (sequence < self->next_sequence) session_fail(self, SESSION_SEQUENCE_BACK, now_ns);
    if (self->state != SESSION_LOGGING_IN) return;
    memcpy(self->name, name, sizeof name);
    self->state = SESSION_RECOVERING;
    self->counter[GATEWAY_LOGINS]++;
}

static void refuse_login(session *self, const soup_packet *packet, uint64_t now_ns) {
    uint8_t code = packet->length ? packet->payload[0] : 0;
    self->counter[GATEWAY_LOGIN_REJECTS]++;
    session_fail(self, code == 'A' ? SESSION_NOT_AUTHORISED : code == 'S' ? SESSION_NOT_AVAILABLE : SESSION_REFUSED, now_ns);
}

/* A packet that is no data message. May end the connection, and the buffer with it. */
static void control(session *self, const soup_packet *packet, uint64_t now_ns) {
    int logging_in = self->state == SESSION_LOGGING_IN;
    switch (packet->type) {
    case SOUP_SERVER_HEARTBEAT:
        self->counter[GATEWAY_HEARTBEATS_IN]++;
        self->heartbeats_heard++;
        break;
    case SOUP_DEBUG: break;
    case SOUP_LOGIN_ACCEPTED:
        if (logging_in) accept_login(self, packet, now_ns);
        else session_fail(self, SESSION_MALFORMED, now_ns);
        break;
    case SOUP_LOGIN_REJECTED:
        if (logging_in) refuse_login(self, packet, now_ns);
        else session_fail(self, SESSION_MALFORMED, now_ns);
        break;
    case SOUP_END_OF_SESSION: session_fail(self, SESSION_ENDED, now_ns); break;
    default:
        self->counter[GATEWAY_MALFORMED]++;
        session_fail(self, SESSION_MALFORMED, now_ns);
        break;
    }
}

int session_next(session *self, uint64_t now_ns, session_message *message) {
    soup_packet packet;
    while (self->fd >= 0) {
        int status = soup_parse(self->receive + self->receive_head, self->receive_tail - self->receive_head, &packet);
        if (status == SOUP_NEED_MORE) {
            self->starved = 1;
            return 0;
        }
        if (status != SOUP_OK) {
            self->counter[GATEWAY_MALFORMED]++;
            session_fail(self, SESSION_MALFORMED, now_ns);
            return 0;
        }
        int data = packet.type == SOUP_SEQUENCED || packet.type == SOUP_UNSEQUENCED;
        if (data && self->state >= SESSION_RECOVERING) {
            message->payload = packet.payload;
            message->length = packet.length;
            message->size = packet.size;
            message->sequence = packet.type == SOUP_SEQUENCED ? self->next_sequence : 0;
            return 1;
        }
        self->receive_head += packet.size; /* before `control`, which may empty the buffer */
        control(self, &packet, now_ns);
    }
    return 0;
}

void session_consume(session *self, const session_message *message) {
    self->receive_head += message->size;
    if (message->sequence) self->next_sequence++;
}
