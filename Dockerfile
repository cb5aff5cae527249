# syntax=docker/dockerfile:1
#
#   docker build -t coyo .                               CPU
#   docker build -t coyo:cuda --build-arg TORCH=cuda .   GPU: run with --gpus all
#   docker build -t coyo:light --build-arg TORCH=none .  filter, download, hashes, reports; no models
#
#   docker run --rm -it --user "$(id -u):$(id -g)" -v "$PWD:/data" -v coyo-cache:/cache coyo demo

FROM python:3.11-slim-bookworm AS build
ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/coyo
ENV PATH=/opt/coyo/bin:$PATH
WORKDIR /src

# torch before the rest: PyPI's build is the CUDA one, the CPU build has an index of its own.
COPY constraints.txt ./
RUN case "$TORCH" in \
      cuda) pip install -c constraints.txt torch torchvision ;; \
      cpu) pip install -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch torchvision ;; \
      none) ;; \
      *) echo "TORCH is cpu, cuda or none, not $TORCH" >&2; exit 1 ;; \
    esac

# The dependencies, from an empty package: this layer stays while only the code changes.
COPY pyproject.toml README.md LICENSE ./
RUN mkdir coyo_tools && touch coyo_tools/__init__.py \
    && if [ "$TORCH" = none ]; then extras=datasets,s3,gcs,language; else extras=score,datasets,s3,gcs,language; fi \
    && pip install -c constraints.txt ".[$extras]" \
    && pip uninstall -y coyo-tools \
    && rm -r coyo_tools

COPY coyo_tools ./coyo_tools
RUN pip install --no-deps .

FROM python:3.11-slim-bookworm
COPY --from=build /opt/coyo /opt/coyo
# Weights and caches go to /cache, whoever runs it.
RUN useradd --create-home coyo && mkdir -m 1777 /cache /data
ENV PATH=/opt/coyo/bin:$PATH HOME=/cache PYTHONUNBUFFERED=1
USER coyo
WORKDIR /data
ENTRYPOINT ["coyo"]
CMD ["--help"]
