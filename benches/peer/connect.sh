# Kafka Connect with the Debezium JDBC sink, for the scripts of this folder. They set HERE, DIR, PORT and BROKERS first.
# shellcheck shell=bash disable=SC2154

say() { printf 'peer: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

libraries() {
    [ -e "$DIR/complete" ] && return 0
    mvn -q -B -f "$HERE/connect-pom.xml" dependency:copy-dependencies -DoutputDirectory="$DIR/libs"
    mvn -q -B -f "$HERE/plugin-pom.xml" dependency:copy-dependencies -DoutputDirectory="$DIR/plugins/jdbc"
    # Connect's own: a second copy beside the plugin ends every task with "Jdk8Module not a subtype".
    rm -f "$DIR"/plugins/jdbc/jackson-*.jar "$DIR"/plugins/jdbc/slf4j-*.jar
    touch "$DIR/complete"
}

worker_config() {
    cat <<CONFIG
bootstrap.servers=$BROKERS
plugin.path=$DIR/plugins
plugin.discovery=service_load
listeners=http://127.0.0.1:$PORT
offset.storage.file.filename=$DIR/offsets
offset.flush.interval.ms=${2:-60000}
connector.client.config.override.policy=All
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=${1}
value.converter.schemas.enable=${1}
CONFIG
}

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
    libraries
    rm -f "$DIR/offsets"
    worker_config "$@" >"$DIR/connect.properties"
    java "${PEER_HEAP:--Xmx1g}" "-Dlog4j2.configurationFile=$HERE/../../tests/services.d/log4j2.properties" -cp "$DIR/libs/*" \
        org.apache.kafka.connect.cli.ConnectStandalone "$DIR/connect.properties" >"$DIR/connect.log" 2>&1 </dev/null &
    WORKER=$!
    trap stop EXIT
    wait_for_rest
}
