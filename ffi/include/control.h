/* control.h: the words of the control page, moved by whoever may: kill, arm, causes, beats, stop.
 *
 * Killing needs no permission and no memory of who killed: any process adds one to kill_epoch. Arming
 * accepts one named epoch, so that a kill which arrives while somebody arms is not lost.
 *
 *   killer    kill_epoch + 1 --------------------------> new orders are refused: latched
 *   gateway   what it framed and had not sent is thrown away, open orders are cancelled,
 *             no byte under way any more ---------------> killed_epoch_sent: effective
 *   killer    (no answer) gateway's process ended, and with it its socket: killed_epoch_reset: effective too
 */
#pragma once
#include "layout.h"

/* Move the kill epoch on. Returns the new one; new orders are refused from here on. */
uint64_t control_kill(control_page *page);
/* The same, for a process that has nothing of this engine but two mapped segments; `body` is the control segment's,
 * whatever its layout. `time_ns` becomes the instant before it on the engine's clock, 0 without a `clock`. */
uint64_t hotpath_kill(uint64_t *body, const clock_page *clock, uint64_t *time_ns);
/* Accept `epoch`. Returns 1 when it is still the latest, 0 when a newer kill stands. */
int control_arm(control_page *page, uint64_t epoch);
/* 1 while new orders are refused. */
int control_killed(const control_page *page);
/* 1 once no byte of a new order or replacement can leave after `epoch`. */
int control_effective(const control_page *page, uint64_t epoch);
/* The gateway's process has ended and its socket was reset, seen after `epoch` was stored. */
void control_reset(control_page *page, uint64_t epoch, uint64_t now_ns);
/* Set the byte of one cause; it must be the caller's own. */
void control_cause(control_page *page, uint32_t cause, uint32_t mode);
/* The same for a cause that clears itself: at once where it tightens, else only once `mode` has sufficed for
 * `hold_ns`. `lax_since_ns` is the caller's memory of the cause, 0 at first. */
void control_condition(control_page *page, uint32_t cause, uint32_t mode, uint64_t now_ns, uint64_t hold_ns,
                       uint64_t *lax_since_ns);
/* A bit for each cause that demands more than MODE_NORMAL. */
uint64_t control_causes(const control_page *page);
/* The strictest of all causes. */
uint8_t control_mode(const control_page *page);
/* Say that who is named by enum beat lives; 0 says that it left in order. */
void control_beat(control_page *page, uint32_t beat, uint64_t now_ns);
/* 1: take no new work, 2: leave the loop. */
void control_stop(control_page *page, uint32_t level);
