/* capture.c: packets of a capture file given to a line. See include/capture.h. */
#include "capture.h"
#include "ring_inline.h"

/* When a packet is due: on the engine clock where the capture is played at a pace, else by its own stamp. */
static uint64_t due_time(const capture *capture, uint64_t time_ns) {
    if (capture->pace == SOURCE_FLAT_OUT) return time_ns;
    uint64_t ppm = capture->speed_ppm ? capture->speed_ppm : 1000000, since = time_ns - capture->packet[0].time_ns;
    if (time_ns < capture->packet[0].time_ns) since = 0;
    return capture->start_time_ns + (uint64_t)((unsigned __int128)since * 1000000u / ppm);
}

/* Nothing more comes: time alone goes on, as far as the line waits for what will never come. */
static void end_wait(capture *capture, line *line, ring_writer *raw, uint64_t now_ns) {
    uint64_t step_ns = line->gap_wait_ns + line->gap_timeout_ns + 1;
    if (capture->pace == SOURCE_FLAT_OUT) now_ns = capture->time_ns += step_ns;
    line_poll(line, raw, now_ns, 0);
    capture->finished = !line->gap_end;
}

void capture_poll(capture *capture, line *line, ring_writer *raw, uint64_t now_ns, uint32_t packets_max) {
    if (capture->finished || ring_room_inline(raw) < LINE_RAW_SLOTS_MIN) return;
    if (!capture->start_time_ns) capture->start_time_ns = now_ns;
    uint64_t published = raw->next;
    for (uint32_t i = 0; i < packets_max && raw->next == published; i++) {
        if (capture->next == capture->count) {
            end_wait(capture, line, raw, now_ns);
            return;
        }
        const pcap_packet *packet = &capture->packet[capture->next];
        uint64_t due_ns = due_time(capture, packet->time_ns);
        if (capture->pace != SOURCE_FLAT_OUT && due_ns > now_ns) {
            if (line->gap_end) line_poll(line, raw, now_ns, 0);
            return;
        }
        if (due_ns > capture->time_ns) capture->time_ns = due_ns; /* a capture of two cards may step back a little */
        line_packet_in(line, raw, capture->side[capture->next], capture->bytes + packet->payload_offset,
                       packet->payload_length, capture->time_ns);
        capture->next++;
    }
}
