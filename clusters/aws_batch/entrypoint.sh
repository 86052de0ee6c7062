#!/usr/bin/env bash
# A node of a multi-node job of AWS Batch. The main node starts Ray's head, waits for the others and becomes the command
# it is given: its exit code is the job's, and SIGTERM reaches it. The others join and stay until Batch stops them.
set -euo pipefail

index=${AWS_BATCH_JOB_NODE_INDEX:?set by AWS Batch for multi-node jobs}
main=${AWS_BATCH_JOB_MAIN_NODE_INDEX:?set by AWS Batch for multi-node jobs}
nodes=${AWS_BATCH_JOB_NUM_NODES:?set by AWS Batch for multi-node jobs}
port=${HEAD_PORT:-6379}
patience=${NODES_WAIT_S:-900}
if [ -n "${RAY_AUTH_TOKEN:-}" ]; then export RAY_AUTH_MODE=token; fi # `ray start` finds the token, a driver has to be told
options=(--disable-usage-stats --num-cpus "${NODE_CPUS:?}" --num-gpus "${NODE_GPUS:-0}")

if [ "$index" != "$main" ]; then
  head=${AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS:?set by AWS Batch on all nodes but the main one}
  until (exec 3<>"/dev/tcp/$head/$port") 2>/dev/null; do
    [ "$SECONDS" -lt "$patience" ] || { echo "node $index: no head at $head:$port within $patience s" >&2; exit 1; }
    sleep 1
  done
  echo "node $index joins $head:$port"
  exec ray start --address "$head:$port" --block "${options[@]}"
fi

own=$(hostname -i)
export RAY_ADDRESS="${own%% *}:$port" # the main node is not told its own address
ray start --head --node-ip-address "${own%% *}" --port "$port" --include-dashboard false "${options[@]}"
# Not all nodes may come in time: a sweep runs on fewer as well.
python -P -m clusters.shared.wait_for_nodes "$RAY_ADDRESS" "$nodes" "$patience"
exec "$@" --address "$RAY_ADDRESS"
