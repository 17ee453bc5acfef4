#!/usr/bin/env bash
# The page and the API with memory management: models leave the card while nobody needs them.
#
#   ./start_with_gpu_management.sh          in a container where Docker runs, else in Python
#   PORT=7861 ./start_with_gpu_management.sh
#
# It takes the NVIDIA card with the most free memory, waits until the service answers, and says how
# to stop it. What is given here goes on to `acestep serve`. Change a setting below, or set it in
# the environment.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
PROJECT_DIR="${PROJECT_DIR:-$here}"                        # a checkout of headroom
CONTAINER_NAME="${CONTAINER_NAME:-step-audio-gpu-managed}" # name of the container
BIND_ADDRESS="${BIND_ADDRESS:-127.0.0.1}"                  # address to listen at; 0.0.0.0 is every address
PORT="${PORT:-7860}"                                       # port of the page
API_PORT="${API_PORT:-8001}"                               # port of the API
GPU_IDLE_TIMEOUT="${GPU_IDLE_TIMEOUT:-600}"                # seconds until an idle model leaves the card
MODELS_DIR="${MODELS_DIR:-$PROJECT_DIR/checkpoints}"       # folder of the models
RUN_WITH="${RUN_WITH:-auto}"                               # docker, python, or auto
IMAGE="${IMAGE:-}"                                         # image to run; without one it is built here
PYTHON="${PYTHON:-}"                                       # interpreter that has headroom; without one start.py installs it
WAIT_SECONDS="${WAIT_SECONDS:-180}"                        # seconds within which the service must answer
LABEL=headroom.gpu-management                              # of the containers that are ours

say() { printf '%s\n' "$*"; }
stop() { printf 'error: %s\n' "$*" >&2; exit 1; }

check() {
    [ -d "$PROJECT_DIR/src/headroom" ] || stop "PROJECT_DIR: $PROJECT_DIR is no checkout of headroom."
    local name
    for name in PORT API_PORT GPU_IDLE_TIMEOUT WAIT_SECONDS; do
        [[ ${!name} =~ ^[1-9][0-9]*$ ]] || stop "$name: '${!name}' is not a whole number above 0."
    done
    [ "$PORT" != "$API_PORT" ] || stop "PORT and API_PORT are both $PORT."
    case $RUN_WITH in auto | docker | python) ;; *) stop "RUN_WITH: '$RUN_WITH' is none of auto, docker, python." ;; esac
    if [ "$RUN_WITH" = docker ] && ! docker info >/dev/null 2>&1; then
        stop "RUN_WITH: docker does not run here; RUN_WITH=python needs none."
    fi
    [ -d "$MODELS_DIR" ] || say "no folder $MODELS_DIR: models come from the cache folder."
}

# An address at which this machine reaches the service.
reached_at() { case $BIND_ADDRESS in 0.0.0.0 | ::) printf 127.0.0.1 ;; *) printf '%s' "$BIND_ADDRESS" ;; esac; }

# Whether somebody listens at a port of the address.
taken() { (exec 3<>"/dev/tcp/$(reached_at)/$1") 2>/dev/null; }

check_ports() {
    local name
    for name in PORT API_PORT; do
        if taken "${!name}"; then stop "$name: port ${!name} is in use; $name=NUMBER chooses another."; fi
    done
}

# The UUID of the card with the most free memory; nothing where there is no card. A choice that was
# made by CUDA_VISIBLE_DEVICES stays.
freest_card() {
    if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then printf '%s' "$CUDA_VISIBLE_DEVICES"; return; fi
    command -v nvidia-smi >/dev/null || return 0
    nvidia-smi --query-gpu=memory.free,uuid --format=csv,noheader,nounits 2>/dev/null |
        sort -t, -k1,1nr | sed -n '1s/^[^,]*, *//p' || true
}

# Whether the service answers, over HTTP.
answers() {
    local line=""
    { exec 3<>"/dev/tcp/$(reached_at)/$API_PORT"; } 2>/dev/null || return 1
    printf 'GET /health/live HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
    read -r -t 5 line <&3 || true
    exec 3>&-
    [[ $line == *" 200 "* ]]
}

# Whether the service may still answer.
runs() {
    if [ "$RUN_WITH" = docker ]; then
        [ "$(docker container inspect -f '{{.State.Running}}' "$CONTAINER_NAME")" = true ]
    else
        kill -0 "$service" 2>/dev/null
    fi
}

wait_for_answer() {
    local until=$((SECONDS + WAIT_SECONDS))
    until answers; do
        runs || stop "the service has ended before it answered."
        [ "$SECONDS" -lt "$until" ] || stop "no answer within WAIT_SECONDS=$WAIT_SECONDS."
        sleep 1
    done
    say "" "page:  http://$BIND_ADDRESS:$PORT" "API:   http://$BIND_ADDRESS:$API_PORT/docs" \
        "card:  ${card:-none, the processor computes}; idle models leave after $GPU_IDLE_TIMEOUT s" ""
}

with_docker() {
    local image=$IMAGE build=(docker build) flags=()
    if [ -n "$card" ]; then
        image=${image:-headroom:cuda}
        flags+=(--gpus "\"device=$card\"")
    else
        image=${image:-headroom:cpu}
        build+=(--build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu)
    fi
    if docker container inspect "$CONTAINER_NAME" >/dev/null 2>&1; then
        [ "$(docker container inspect -f "{{index .Config.Labels \"$LABEL\"}}" "$CONTAINER_NAME")" = true ] ||
            stop "CONTAINER_NAME: $CONTAINER_NAME was not started by this script; another name is needed."
        say "removing the container $CONTAINER_NAME of before"
        docker rm -f "$CONTAINER_NAME" >/dev/null
    fi
    check_ports
    docker image inspect "$image" >/dev/null 2>&1 || "${build[@]}" -t "$image" "$PROJECT_DIR"
    if [ -d "$MODELS_DIR" ]; then
        flags+=(-v "$MODELS_DIR:/models:ro")
    else
        flags+=(-v headroom-models:/models)
    fi
    [ -z "${HEADROOM_SERVICE_KEY:-}" ] || flags+=(-e HEADROOM_SERVICE_KEY)
    docker run -d --name "$CONTAINER_NAME" --label "$LABEL=true" --restart unless-stopped "${flags[@]}" \
        --cap-drop ALL --security-opt no-new-privileges \
        -v headroom-data:/data -p "$BIND_ADDRESS:$PORT:7860" -p "$BIND_ADDRESS:$API_PORT:8001" \
        "$image" serve --ui --host 0.0.0.0 \
        --enable-gpu-management --gpu-idle-timeout "$GPU_IDLE_TIMEOUT" "$@" >/dev/null
    wait_for_answer
    docker logs "$CONTAINER_NAME" 2>&1 | grep -m1 '^key for this service' || true
    say "log:   docker logs -f $CONTAINER_NAME" \
        "back:  docker stop $CONTAINER_NAME, then start what ran before"
}

with_python() {
    local command=(python3 start.py serve)
    check_ports
    cd -- "$PROJECT_DIR"
    if [ -n "$PYTHON" ]; then
        command=("$PYTHON" -m headroom serve)
    else
        "${command[@]}" --help >/dev/null # installs, where that is still to be done
    fi
    [ -z "$card" ] || export CUDA_VISIBLE_DEVICES=$card
    [ ! -d "$MODELS_DIR" ] || export HEADROOM_CHECKPOINTS_DIR="${HEADROOM_CHECKPOINTS_DIR:-$MODELS_DIR}"
    HEADROOM_UI_PORT=$PORT "${command[@]}" --ui --host "$BIND_ADDRESS" --port "$API_PORT" \
        --enable-gpu-management --gpu-idle-timeout "$GPU_IDLE_TIMEOUT" "$@" &
    service=$!
    trap 'kill -TERM "$service" 2>/dev/null || true' EXIT
    trap 'kill -TERM "$service" 2>/dev/null || true; wait "$service" || exit; exit 0' INT TERM HUP
    wait_for_answer
    say "back:  Ctrl-C here, then start what ran before"
    wait "$service"
}

check
card=$(freest_card)
if [ "$RUN_WITH" = auto ]; then
    if docker info >/dev/null 2>&1; then RUN_WITH=docker; else RUN_WITH=python; fi
fi
"with_$RUN_WITH" "$@"
