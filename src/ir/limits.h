/* SPDX-License-Identifier: GPL-2.0-only */
/* Bounds of the intermediate form, so that recursion over it is safe on any stack. */
#ifndef WEIR_IR_LIMITS_H
#define WEIR_IR_LIMITS_H

enum { IR_DEPTH_MAX = 1000 }; /* nesting of conditions */

#endif
