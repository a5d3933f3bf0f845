# Kafka Connect with the Debezium JDBC sink, for the scripts of this folder. They set HERE, DIR, PORT and BROKERS first.
# shellcheck shell=bash disable=SC2154

say() { printf 'peer: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

# shellcheck source=tests/services.d/libraries.sh
. "$HERE/../../tests/services.d/libraries.sh"
# shellcheck source=tests/services.d/connect.sh
. "$HERE/../../tests/services.d/connect.sh"

rest() { curl -sS --fail-with-body -H 'Content-Type: application/json' "$@"; }

# Waits for REST, then for nothing: a worker that ends meanwhile is seen.
wait_for_rest() {
    local i
    for i in $(seq 120); do
        if rest -o /dev/null "http://127.0.0.1:$PORT/connectors" 2>/dev/null; then return 0; fi
        kill -0 "$WORKER" 2>/dev/null || break
        sleep 0.5
    done
    tail -20 "$DIR/connect.log" >&2
    die "Connect does not answer, see $DIR/connect.log"
}

WORKER=
stop() { [ -z "$WORKER" ] || { kill "$WORKER" 2>/dev/null; wait "$WORKER" 2>/dev/null; } || true; }

# start_worker SCHEMAS [FLUSH_MS]: whether events carry schemas, and how often the sink's offsets are committed.
start_worker() {
    local command
    fetch_libraries connect
    fetch_libraries jdbc-sink
    connect_config jdbc-sink "$1" "${2:-60000}"
    mapfile -t command < <(connect_command "${PEER_HEAP:--Xmx1g}")
    "${command[@]}" >"$DIR/connect.log" 2>&1 </dev/null &
    WORKER=$!
    trap stop EXIT
    wait_for_rest
}
