# Sourced by the client checks: a node of the release binary on a free port, named checks, installed clients.
#
#   start_node [ARGS]     starts skein in $NODE_DATA (a new directory unless set); sets BOOTSTRAP, NODE_PID
#   stop_node             SIGTERM, and waits
#   kill_node             SIGKILL, and waits
#   check NAME COMMAND    passes if the command succeeds
#   skip NAME WHY         counted, printed
#   finish NAME           the closing line "NAME: P passed, F failed, S skipped"; its status
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SKEIN=${SKEIN:-${CARGO_TARGET_DIR:-$ROOT/target}/release/skein}
WORK=${SKEIN_TEST_WORK:-${TMPDIR:-/tmp}/skein-clients}
SUDO=$([ "$(id -u)" = 0 ] || echo sudo)
mkdir -p "$WORK"
P=0 F=0 S=0
NODE_PID=

start_node() {
  NODE_DATA=${NODE_DATA:-$(mktemp -d "$WORK/data.XXXXXX")}
  NODE_OUT=$NODE_DATA.out
  # Below the range that outgoing connections take their ports from: a client that connects again and again to a port of
  # that range, while the node is down, can meet itself there and keep the node from coming back.
  NODE_PORT=${NODE_PORT:-$((20000 + RANDOM % 9000))}
  : >"$NODE_OUT"
  "$SKEIN" start --data "$NODE_DATA" --listen "127.0.0.1:$NODE_PORT" "$@" >"$NODE_OUT" 2>>"$NODE_DATA.log" &
  NODE_PID=$!
  # The ready line comes through a pipe of the node's own: wait for it by its end or the node's.
  until grep -q '^skein ready on ' "$NODE_OUT"; do
    kill -0 "$NODE_PID" 2>/dev/null || { echo "the node did not start:"; tail -n 20 "$NODE_DATA.log"; return 1; }
    read -rt 0.05 _ <> <(:) || true
  done
  BOOTSTRAP=$(sed -nE 's/^skein ready on ([^ ,]+).*/\1/p' "$NODE_OUT" | head -n 1)
  export BOOTSTRAP SKEIN_BOOTSTRAP=$BOOTSTRAP
}

stop_node() { [ -z "$NODE_PID" ] || { kill -TERM "$NODE_PID" 2>/dev/null; wait "$NODE_PID"; local status=$?; NODE_PID=; return $status; }; }
kill_node() { kill -KILL "$NODE_PID" 2>/dev/null; wait "$NODE_PID" 2>/dev/null; NODE_PID=; }
trap '[ -z "$NODE_PID" ] || kill -KILL $NODE_PID 2>/dev/null' EXIT

# Runs in this shell, not in one below it, so that a check may start and stop nodes.
check() {
  local name=$1
  shift
  if "$@" >"$WORK/check.out" 2>&1; then
    P=$((P + 1))
  else
    F=$((F + 1))
    printf 'FAILED: %s\n%s\n' "$name" "$(tail -n 20 "$WORK/check.out")"
  fi
}
skip() { S=$((S + 1)); echo "SKIPPED: $1: $2"; }
finish() { echo "$1: $P passed, $F failed, $S skipped"; [ "$F" -eq 0 ]; }

have() { command -v "$1" >/dev/null; }
# have_package COMMAND PACKAGE: installs a Debian package where its command is missing.
have_package() {
  have "$1" && return
  have apt-get || return
  $SUDO apt-get update -qq >/dev/null 2>&1
  $SUDO apt-get install -y -qq "$2" >/dev/null 2>&1
  have "$1"
}

# node_tests NAME TARGET [ARGS]: runs a test target of the tools package against the release binary, and closes with its
# counts. A test that says SKIPPED has passed only for cargo.
node_tests() {
  local name=$1 target=$2 log passed failed
  shift 2
  log=$(mktemp "$WORK/$name.XXXXXX")
  (cd "$ROOT" && SKEIN_BIN=$SKEIN cargo test --release --quiet --package tools --test "$target" -- --nocapture "$@") >"$log" 2>&1
  passed=$(sed -nE 's/^test result: .* ([0-9]+) passed.*/\1/p' "$log")
  failed=$(sed -nE 's/^test result: .* ([0-9]+) failed.*/\1/p' "$log")
  grep -v '^test result:' "$log"
  S=$(grep -c '^SKIPPED: ' "$log")
  F=${failed:-1}
  P=$((${passed:-0} - S))
  finish "$name"
}
