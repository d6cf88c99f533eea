/* control.h: the words of the control page, moved by whoever may: kill, arm, mode, stop.
 *
 * Killing needs no permission and no memory of who killed: any process adds one to kill_epoch. Arming
 * accepts one named epoch, so that a kill which arrives while somebody arms is not lost.
 */
#pragma once
#include "layout.h"

/* Move the kill epoch on. Returns the new one; new orders are refused from here on. */
uint64_t control_kill(control_page *page);
/* Accept `epoch`. Returns 1 when it is still the latest, 0 when a newer kill stands. */
int control_arm(control_page *page, uint64_t epoch);
/* 1 while new orders are refused. */
int control_killed(const control_page *page);
/* Set the word of one tightener; it must be the caller's own. */
void control_mode(control_page *page, uint32_t tightener, uint32_t mode);
/* 1: take no new work, 2: leave the loop. */
void control_stop(control_page *page, uint32_t level);
