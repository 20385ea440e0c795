# Copyright 2026 The teleop_webrtc_bridge contributors
# SPDX-License-Identifier: Apache-2.0

# shellcheck shell=bash
# Functions shared by the scripts of this folder, which source this file.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # used by the scripts that source this
venv="$root/.venv"

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# ROS 2 comes from wheels here (requirements-ros.txt). A ROS 2 from apt that is sourced in this
# terminal, or another virtual environment, would mix with it: remove it from this environment.
leave_other_environments() {
    local name entries entry
    for name in "${!ROS_@}" "${!RMW_@}"; do
        case $name in
            ROS_AUTOMATIC_DISCOVERY_RANGE | ROS_DOMAIN_ID | ROS_LOG_DIR) ;;
            *) unset "$name" ;;
        esac
    done
    unset AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONHOME
    unset PYTHONPATH VIRTUAL_ENV _ROS_WHEELS_BOOTSTRAP_COMPLETE
    local path=''
    IFS=: read -r -a entries <<<"$PATH"
    for entry in "${entries[@]}"; do
        [[ $entry == /opt/ros/* ]] || path+="${path:+:}$entry"
    done
    export PATH=$path
}

is_usable_python() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null
}

# Prints the first usable python; fails if there is none.
find_python() {
    local name
    for name in python3.13 python3.14 python3.12 python3.11 python3; do
        if command -v "$name" >/dev/null && is_usable_python "$name"; then
            echo "$name"
            return
        fi
    done
    return 1
}

# Installs the system packages as root; otherwise lists the missing ones in one line, and exits.
install_packages() {
    local command=(apt-get install -y --no-install-recommends "$@")
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        fail "these system packages are missing: $*; install them with: sudo ${command[*]}"
    fi
    echo "Installing system packages: $*" >&2
    local log="$root/build/apt-get.log"
    mkdir -p "$(dirname "$log")"
    export DEBIAN_FRONTEND=noninteractive
    # Fetch the package lists only if the first attempt fails: a fresh container has none.
    "${command[@]}" >"$log" 2>&1 || { apt-get update && "${command[@]}"; } >"$log" 2>&1 ||
        fail "'${command[*]}' has failed, see $log"
}

# Finds or installs a Python that can create virtual environments; sets $python.
require_python() {
    if ! python=$(find_python); then
        if [[ $(id -u) == 0 ]] && ! command -v python3 >/dev/null; then
            install_packages python3 python3-venv
            hash -r
        fi
        python=$(find_python) ||
            fail "needs Python 3.11 to 3.14, found $(python3 --version 2>/dev/null || echo none);" \
                'Debian 12 and Ubuntu 24.04 have one: apt-get install python3 python3-venv'
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        local package=python3-venv
        [[ $python == python3 ]] || package="$python-venv"
        install_packages "$package"
    fi
}

# Prints the path of a browser for the tests; fails if there is none.
find_chromium() {
    local name candidate
    for name in "${CHROMIUM:-}" chromium google-chrome google-chrome-stable chromium-browser; do
        if [[ -n $name ]] && candidate=$(command -v "$name") && is_browser "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    for candidate in "${HOME:-/root}"/.cache/ms-playwright/chromium-*/chrome-linux*/chrome; do
        if [[ -x $candidate ]]; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# Prints the path of a Firefox for the tests; fails if there is none.
find_firefox() {
    local name candidate
    for name in "${FIREFOX:-}" firefox-esr firefox; do
        if [[ -n $name ]] && candidate=$(command -v "$name") && is_browser "$candidate" &&
            ! is_snap "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# A snap has a /tmp of its own, and cannot read the profile that a test writes there.
is_snap() {
    [[ $(readlink -f "$1") == */snap* ]] || grep -qs '^exec /snap/' "$1"
}

# Ubuntu's packages are stubs that only ask for the snap, and answer no --version without it.
is_browser() {
    timeout 20 "$1" --version >/dev/null 2>&1
}
