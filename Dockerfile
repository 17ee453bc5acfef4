# headroom in a container, for NVIDIA cards or for the processor alone:
#
#   docker build -t headroom:cuda .
#   docker build -t headroom:cpu --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
#
# Models are in the volume /models; songs, their database and keys are in /data.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm

# Where a fitting build of torch is; empty: the one of PyPI, which brings CUDA.
ARG TORCH_INDEX=""
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE LICENSE-THIRD-PARTY.md ./
COPY src ./src
COPY examples/text2music ./examples/text2music
RUN pip install --no-cache-dir -c constraints.txt \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} ".[ui,media]" \
    && useradd --uid 10001 --create-home headroom \
    && install -d -o headroom -g headroom /models /data

USER 10001
WORKDIR /data
ENV HEADROOM_CHECKPOINTS_DIR=/models \
    HEADROOM_DATA_DIR=/data \
    HEADROOM_CACHE_DIR=/data/cache \
    PYTHONUNBUFFERED=1
VOLUME ["/models", "/data"]
EXPOSE 7860 8001
HEALTHCHECK --interval=10s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8001/health/live', timeout=9)"]
ENTRYPOINT ["acestep"]
# Every address of the container: whoever calls needs the key that is shown once in the log.
CMD ["serve", "--ui", "--host", "0.0.0.0"]
