# Tailsweep for containers: docker build -t tailsweep .
# With a GPU: docker build -t tailsweep:cuda --build-arg TORCH_INDEX= .
# torch's CUDA wheels bring CUDA along: of the machine they need the driver and NVIDIA's container runtime only.
ARG BASE=python:3.11.13-slim-bookworm
FROM ${BASE}

# Empty for pip's own index, where torch is the CUDA build.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# procps: who runs; rsync: `ray up` copies files; wget: KubeRay's probes; libgomp1: LightGBM.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends procps rsync wget libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home --shell /bin/bash tailsweep

WORKDIR /opt/tailsweep

# From what changes seldom to what changes often: torch, the other libraries, Tailsweep.
COPY constraints.txt ./
RUN pip install ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} "$(grep '^torch==' constraints.txt)"

# ray[default]: the dashboard and the job server of a cluster's head. The extra `server`: MLflow on PostgreSQL.
COPY pyproject.toml ./
RUN python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; e = p["optional-dependencies"]; \
print(*p["dependencies"], *(d for n in ("images", "text", "signals", "tables", "demo", "aws", "server") for d in e[n]), sep="\n")' \
      > requirements.txt \
 && pip install --constraint constraints.txt --requirement requirements.txt 'ray[default]'

COPY README.md LICENSE ./
COPY clusters/ clusters/
COPY workloads/ workloads/
COPY orchestrator/ orchestrator/
RUN pip install --no-deps .

USER 1000:1000
WORKDIR /home/tailsweep

# Ray and Kubernetes look after what runs; this says whether the command can be started at all.
HEALTHCHECK --interval=60s --timeout=20s --start-period=30s --retries=3 CMD ["tailsweep", "--help"]

# No entry point: AWS Batch cannot replace one, and its nodes start Ray first.
CMD ["tailsweep", "--help"]
