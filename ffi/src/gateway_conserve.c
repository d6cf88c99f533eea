/* gateway_conserve.c: what leaves is what was approved. See include/gateway.h.
 *
 *   command entered = framed + refused + known before        counted apart from what does it, compared every turn
 *   frame's own bytes, decoded = command's terms             before the socket has any of them
 *
 * A frame is the child of one approved command: same quantity and price, and a replacement or cancel names the wire
 * number of the order that the command names. With one frame a command no chain of replacements can outgrow what the
 * gate reserved for it.
 */
#include "gateway_parts.h"
#include "control.h"
#include "soup.h"

#define CANCELS_PART 4 /* of the send buffer, that orders leave free */

/* Latched: only a new run begins with a control page that does not say so. What is queued is dropped with the
 * connection: none of it has left. */
static void halt(gateway *self) {
    if (self->unconserved) return;
    self->unconserved = 1;
    if (self->config.replay) return;
    control_cause(self->stage.control, CAUSE_CONSERVATION, MODE_HALTED);
    if (self->socket) session_fail(&self->session, SESSION_NOT_CONSERVED, clock_read(self->stage.clock));
}

void gateway_conserve_frame(gateway *self, const cmd_event *command, const intent_record *record, uint32_t target_ref) {
    const uint8_t *message = record->frame + SOUP_HEADER_SIZE;
    uint32_t length = record->frame_length > SOUP_HEADER_SIZE ? record->frame_length - SOUP_HEADER_SIZE : 0;
    if (!venue_order_matches(&self->config.terms, command, target_ref, message, length)) halt(self);
}

void gateway_conserve_turn(gateway *self) {
    if (self->entered != self->left + self->declined + self->settled) halt(self);
}

uint64_t gateway_session_word(const gateway *self) {
    if (!self->socket) return 1;
    if (self->session.state != SESSION_UP || !self->announced_up) return 0;
    uint64_t bytes = self->config.session.send_bytes, kept = bytes / CANCELS_PART;
    uint64_t used = self->session.send_tail - self->session.send_head + kept;
    uint64_t orders = used < bytes ? (bytes - used) / FRAME_BYTES_MAX : 0;
    return orders >= self->config.batch_max ? 1 : 2 + orders;
}
