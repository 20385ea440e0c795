// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The page's largest speeds. The robot enforces its own limits, independently of these. */

export const MAX_LINEAR_MPS = 1.0;
export const MAX_TURN_RADPS = 1.5;
