#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Make .venv in the project folder; `tools/setup.sh --help` says the rest.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/setup.sh [--fresh] [--help]

Makes .venv in the project folder, with all that `make demo` and `make test` need, on a machine
without ROS: the packages of requirements.lock (ROS 2 Kilted, PyTorch, ONNX Runtime, OpenCV and the
test tools), the interface packages no wheel carries (vision_msgs, tf2_msgs, built from
tools/ros_wheels), and this project itself (editable, with the command `.venv/bin/imkd`).

A second run does nothing. After a change of requirements.lock, tools/ros_wheels, setup.py or of the
Python version only the step concerned is run again. A run that was interrupted is taken up again.

Options
  --fresh    delete .venv and start again (do it when no program uses .venv; it also removes
             packages that are no longer in requirements.lock)
  --help     this text

Environment
  PYTHON     the Python 3.11 to make .venv with, for instance PYTHON=/usr/bin/python3.11; without it
             python3.11, then python3, is looked for. Others are refused: the lock is tried with 3.11.
             A .venv that works is kept; add --fresh to change its Python.
  PIP_*      pip's own settings are honoured. PyTorch: where pip finds a CPU build of the locked
             version, that one is taken; elsewhere the default build comes, with several GB of CUDA
             packages. To avoid that, name an index of CPU builds in PIP_EXTRA_INDEX_URL.

Needed from the system: cmake, ninja, a C++ compiler, libGL and GLib (for OpenCV). What is missing is
installed with apt-get when this runs as root; otherwise the command to run is printed.
On a machine with ROS 2 installed none of this is needed to use the node: see README.md, `colcon build`.
TEXT
}

fresh=no
for argument in "$@"; do
  case $argument in
    --fresh) fresh=yes ;;
    -h | --help) usage; exit 0 ;;
    *) echo "setup: unknown option '$argument'; tools/setup.sh --help lists them" >&2; exit 2 ;;
  esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
venv=$root/.venv
lock=requirements.lock
started=$SECONDS
say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# A sourced ROS 2 (or another venv of ROS wheels) must not leak into this one.
unset PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH \
  LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE VIRTUAL_ENV

# --- Python -------------------------------------------------------------------------------------
version_of() {
  "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || true
}

find_python() {
  local candidate found
  if [ -n "${PYTHON:-}" ]; then
    found=$(version_of "$PYTHON")
    case $found in
      3.11.*) echo "$PYTHON"; return ;;
      '') die "PYTHON=$PYTHON does not run; set PYTHON to a Python 3.11" ;;
      *) die "PYTHON=$PYTHON is Python $found; the locked packages are tried with 3.11 only" ;;
    esac
  fi
  for candidate in python3.11 python3 python; do
    case $(version_of "$candidate") in
      3.11.*) echo "$candidate"; return ;;
    esac
  done
  found=$(version_of python3)
  die "no Python 3.11 found (python3 is ${found:-absent}); install python3.11 and its venv module," \
    "or set PYTHON=/path/to/python3.11. With another Python, use a ROS 2 installation: README.md"
}

# A .venv that works is kept, whatever Python is first on the PATH today: others may be using it.
python=$venv/bin/python
if [ -n "${PYTHON:-}" ] || [ $fresh = yes ]; then
  PYTHON=$(find_python)  # refuses a wrong one
fi
case $(version_of "$python") in
  3.11.*) [ $fresh = no ] || python=$PYTHON ;;
  *) python=${PYTHON:-$(find_python)} ;;
esac

# --- stamps: one a step, written only when the step is complete -------------------------------------
# 'running' stands while pip works and outlives a run that was killed: what pip then left half
# installed is not to be trusted.
hash_of() { cat "$@" | sha256sum | cut -c1-64; }
files_under() { find "$@" -type f -print | LC_ALL=C sort; }
key_base() { { echo "$root"; version_of "$python"; } | hash_of -; }
key_packages() { { key_base; hash_of "$lock" tools/setup.sh; } | hash_of -; }
# shellcheck disable=SC2046
key_interfaces() {
  { key_packages; files_under tools/ros_wheels; hash_of $(files_under tools/ros_wheels); } | hash_of -
}
key_project() {
  { key_packages; hash_of setup.py setup.cfg package.xml resource/imkd_ros; } | hash_of -
}
stamp() { echo "$venv/.setup-$1"; }
is_done() { [ "$(cat "$(stamp "$1")" 2>/dev/null)" = "$2" ]; }
begin() { rm -f "$(stamp "$1")"; }
end() {
  printf '%s\n' "$2" >"$(stamp "$1").new" && mv -f "$(stamp "$1").new" "$(stamp "$1")"
  rm -f "$(stamp running)"
}

all_done() {
  is_done base "$(key_base)" && is_done packages "$(key_packages)" &&
    is_done interfaces "$(key_interfaces)" && is_done project "$(key_project)"
}

if [ $fresh = no ] && all_done; then
  say ".venv is up to date"
  exit 0
fi

# Two set-ups at once (two terminals, make -j) would spoil each other: the second one waits.
mkdir -p "$root/build"
if command -v flock >/dev/null 2>&1; then
  exec 9>"$root/build/.setup.lock"
  if ! flock -n 9; then
    say "another set-up of this folder is running; waiting for it"
    flock 9
  fi
  if [ $fresh = no ] && all_done; then
    say ".venv is up to date"
    exit 0
  fi
fi
trap 'exit 130' INT
trap 'exit 143' TERM HUP
trap 'code=$?; [ $code = 0 ] || say "NOT complete (exit $code); mend the cause above, run tools/setup.sh again" >&2' EXIT

# --- what the system has to bring -------------------------------------------------------------------
has_library() { ldconfig -p 2>/dev/null | grep -q -- "$1"; }
missing=()
command -v cmake >/dev/null 2>&1 || missing+=(cmake)
command -v ninja >/dev/null 2>&1 || missing+=(ninja-build)
command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || missing+=(g++)
"$python" -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3.11-venv)
[ -f "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] ||
  missing+=(python3.11-dev)
if command -v ldconfig >/dev/null 2>&1; then
  has_library 'libGL\.so\.1 ' || missing+=(libgl1)
  has_library 'libgthread-2\.0\.so\.0 ' || missing+=(libglib2.0-0)
fi
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing from the system's packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
      die "apt-get could not install ${missing[*]}; install them by hand, then run this again"
  else
    die "missing on this system: ${missing[*]}. Install them (Debian, Ubuntu:" \
      "sudo apt-get install ${missing[*]}), then run this again"
  fi
fi

# --- 1. the environment itself ------------------------------------------------------------------------
old=$root/build/old_venv  # set aside in one step: a .venv half deleted could pass for a whole one
discard() {
  [ -e "$venv" ] || return 0
  say "1/4 removing the old .venv ($1)"
  rm -rf "$old"
  mv "$venv" "$old"
}
if [ $fresh = yes ]; then
  discard "--fresh"
elif [ -e "$(stamp running)" ]; then
  discard "an earlier set-up was killed while it installed"
elif ! is_done base "$(key_base)"; then
  discard "made in another folder or by another Python, or not complete"
fi
rm -rf "$old" &
if ! is_done base "$(key_base)"; then
  python=$(find_python)
  say "1/4 making .venv with Python $(version_of "$python")"
  "$python" -m venv "$venv"
  end base "$(key_base)"
fi
vpython=$venv/bin/python

# --- 2. the locked packages ---------------------------------------------------------------------------
# Prints the lines of one section of the lock; with a leading '!' all sections but those named.
section() {
  awk -v wanted=" $* " '
    /^# --- / { name = $3; sub(/:$/, "", name); next }
    /^#/ || /^[[:space:]]*$/ { next }
    substr(wanted, 2, 1) == "!" { if (index(wanted, " " name " ") == 0) print; next }
    index(wanted, " " name " ") { print }' "$lock"
}

install() {
  # The constraint holds torch's dependencies, and what pip needs to build a source package. A relative
  # path, for pip would split one with a space in it.
  PIP_CONSTRAINT="$lock" "$vpython" -m pip --disable-pip-version-check install -q "$@" \
    2> >(grep -v -e 'is ignored: it is neither' -e '^$' >&2)
}
# pip itself ended, with an error: it leaves nothing half done, so the next run may go on from here.
give_up() { rm -f "$(stamp running)"; die "$@"; }

if ! is_done packages "$(key_packages)"; then
  begin packages
  touch "$(stamp running)"
  say "2/4 torch (the largest part: 0.2 GB as a CPU build)"
  # pip reads requirements from files only; process substitution leaves none behind.
  install -r <(section torch) || give_up "pip could not install torch"
  say "2/4 $(section '!' torch optional | wc -l) more packages: ROS 2 Kilted, ONNX Runtime, OpenCV, test tools"
  install --no-deps -r <(section '!' torch optional) || give_up "pip could not install the packages"
  say "2/4 optional packages"
  install --no-deps -r <(section optional) ||
    say "the optional packages cannot be installed here; tests that need them skip, and one fails" \
      "that wants tensorrt_rtx (IMKD_WITHOUT_TENSORRT=1 make test goes without)"
  end packages "$(key_packages)"
fi

# --- 3. interface packages ----------------------------------------------------------------------------
if ! is_done interfaces "$(key_interfaces)"; then
  begin interfaces
  say "3/4 building vision_msgs and tf2_msgs"
  build=$root/build/ros_wheels
  rm -rf "$build"
  mkdir -p "$build"
  {
    PATH="$venv/bin:$PATH" AMENT_PREFIX_PATH="$venv" cmake -S tools/ros_wheels -B "$build" -G Ninja \
      -DCMAKE_PREFIX_PATH="$venv" -DCMAKE_INSTALL_PREFIX="$venv" -DBUILD_TESTING=OFF \
      -DPython3_EXECUTABLE="$vpython" &&
      PATH="$venv/bin:$PATH" AMENT_PREFIX_PATH="$venv" cmake --build "$build" --target install
  } >"$root/build/ros_wheels.log" 2>&1 || {
    tail -n 25 "$root/build/ros_wheels.log" >&2
    give_up "the interface packages do not build; the whole log: build/ros_wheels.log"
  }
  rm -rf "$build"
  end interfaces "$(key_interfaces)"
fi

# --- 4. the project -----------------------------------------------------------------------------------
# Editable, plus what a ROS installation of the package has besides the code, as links into this folder,
# so that AMENT_PREFIX_PATH=.venv finds share/imkd_ros and lib/imkd_ros.
if ! is_done project "$(key_project)"; then
  begin project
  touch "$(stamp running)"
  say "4/4 installing this project into .venv (editable)"
  install --no-deps --no-build-isolation -e . || give_up "pip could not install this project"
  share=$venv/share/imkd_ros
  index=$venv/share/ament_index/resource_index/packages
  mkdir -p "$share" "$index" "$venv/lib/imkd_ros"
  for name in launch config models package.xml; do
    ln -sfn "$root/$name" "$share/$name"
  done
  ln -sfn "$root/resource/imkd_ros" "$index/imkd_ros"
  for name in detector_node bag_player bag_recorder; do
    ln -sfn "$venv/bin/$name" "$venv/lib/imkd_ros/$name"
  done
  "$vpython" -c 'import rclpy, torch, cv2, onnxruntime, vision_msgs.msg, tf2_msgs.msg, imkd_core, imkd_ros' ||
    give_up "the installed packages do not import; try tools/setup.sh --fresh"
  end project "$(key_project)"
fi
wait  # for the old .venv to be gone
say "done in $((SECONDS - started)) s: $vpython"
