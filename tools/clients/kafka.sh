# Sourced after lib.sh: Apache Kafka of its own jars, to compare with.
#
#   have_kafka            whether it can be had: Java, Maven, the jars
#   start_kafka [LINES]   starts one node with these lines added to its properties; sets KAFKA, KAFKA_PID
#   stop_kafka            ends it and removes its data
KAFKA_PID=

have_kafka() {
  have java && have_package mvn maven || return
  KAFKA_JARS=$WORK/kafka-classpath
  [ -s "$KAFKA_JARS" ] || mvn -q -B -ntp -f "$ROOT/tools/clients/java/server.xml" dependency:build-classpath -Dmdep.outputFile="$KAFKA_JARS" >"$WORK/mvn.log" 2>&1
  [ -s "$KAFKA_JARS" ]
}

start_kafka() {
  local port=$((20000 + RANDOM % 4500 * 2)) data properties java
  java=(java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.net.preferIPv4Stack=true -Dlog4j2.level=WARN -cp "$(cat "$KAFKA_JARS")")
  data=$(mktemp -d "$WORK/kafka.XXXXXX")
  properties=$data/server.properties
  KAFKA_DATA=$data KAFKA=127.0.0.1:$port
  cat >"$properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
log.dirs=$data/log
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
PROPERTIES
  printf '%s\n' "$@" >>"$properties"
  "${java[@]}" kafka.tools.StorageTool format -t "$("${java[@]}" kafka.tools.StorageTool random-uuid)" -c "$properties" >"$data/format.log" 2>&1 ||
    { tail -n 5 "$data/format.log"; return 1; }
  "${java[@]}" kafka.Kafka "$properties" >"$data/node.log" 2>&1 &
  KAFKA_PID=$!
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$KAFKA_PID" 2>/dev/null || { echo "Kafka did not start:"; tail -n 20 "$data/node.log"; return 1; }
    read -rt 0.2 _ <> <(:) || true
  done
}

stop_kafka() {
  [ -n "$KAFKA_PID" ] || return 0
  kill -KILL "$KAFKA_PID" 2>/dev/null
  wait "$KAFKA_PID" 2>/dev/null
  KAFKA_PID=
  rm -rf "$KAFKA_DATA"
}
trap '[ -z "$NODE_PID" ] || kill -KILL $NODE_PID 2>/dev/null; stop_kafka' EXIT
