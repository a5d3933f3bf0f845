# A standalone Kafka Connect worker, for tests/services and for the peer of the benches. Whoever reads this in has read
# libraries.sh, and sets DIR (state of the worker), PORT (its REST interface) and BROKERS.
# shellcheck shell=bash disable=SC2154

# connect_config PLUGINS SCHEMAS FLUSH_MS: the plugins by the names of their poms, whether events carry schemas unless a
# connector says otherwise, and how often offsets are stored.
connect_config() {
    local name
    mkdir -p "$DIR/plugins"
    for name in $1; do ln -sfn "$(libraries "$name")" "$DIR/plugins/$name"; done
    # Plugins are looked for in every jar, because the Avro converter has no manifest of its class; it costs three seconds.
    # Offsets of a former worker would let a new connector of the same name begin in the middle.
    rm -f "$DIR/offsets"
    cat >"$DIR/connect.properties" <<CONFIG
bootstrap.servers=$BROKERS
plugin.path=$DIR/plugins
plugin.discovery=hybrid_warn
listeners=http://127.0.0.1:$PORT
offset.storage.file.filename=$DIR/offsets
offset.flush.interval.ms=$3
connector.client.config.override.policy=All
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=$2
value.converter.schemas.enable=$2
CONFIG
}

# connect_command HEAP: the words of the command line, one a line.
connect_command() {
    printf '%s\n' java "$1" "-Dlog4j2.configurationFile=$POMS/log4j2.properties" -cp "$(libraries connect)/*" \
        org.apache.kafka.connect.cli.ConnectStandalone "$DIR/connect.properties"
}
