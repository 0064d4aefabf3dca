# Two images: `service` answers, `loadgen` asks. Neither runs as root, nor writes anywhere but to /tmp.
#
#   make image                              # both, with docker; BUILDER=buildah works as well
#   docker build --target service --tag fiveways-service:0.1.0 .
#
# Versions are those of constraints.txt. Nothing here is known to BuildKit alone.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

# This project as a wheel, for both.
FROM ${BASE_IMAGE} AS wheel
ARG INDEX=
# Of the files in the wheel: the same sources make the same bytes.
ARG SOURCE_DATE_EPOCH=315532800
WORKDIR /src
# A compiler for models/native. Without one the wheel is built all the same, and calls on CPUs are slower.
RUN command -v g++ || { apt-get update && apt-get install -y --no-install-recommends g++ \
      && rm -rf /var/lib/apt/lists/*; }
COPY constraints.txt ./
RUN pip install --no-cache-dir ${INDEX:+--index-url "$INDEX"} --constraint constraints.txt setuptools
COPY pyproject.toml LICENSE fiveways.py ./
COPY reads reads
COPY models models
COPY service service
COPY loadgen loadgen
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

# What `service` runs: all that the project depends on.
FROM ${BASE_IMAGE} AS service-environment
ARG INDEX=
# Which torch: this index has the one for CPUs. https://download.pytorch.org/whl/cu130 has one for CUDA, which brings
# NVIDIA's libraries from INDEX.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv --without-pip /opt/fiveways
COPY constraints.txt /
RUN pip --python /opt/fiveways/bin/python install --no-cache-dir --no-compile --no-deps \
      --index-url "$TORCH_INDEX" --constraint /constraints.txt torch
COPY --from=wheel /wheels /wheels
RUN pip --python /opt/fiveways/bin/python install --no-cache-dir --no-compile \
      ${INDEX:+--index-url "$INDEX"} --constraint /constraints.txt /wheels/*.whl
# Bytecode that is checked against nothing: it depends on the sources, and not on when they were installed. torch's
# own tests have syntax that only later Pythons compile.
RUN python -m compileall -q --invalidation-mode unchecked-hash -x /torch/testing/ /opt/fiveways/lib

# What `loadgen` runs: what the locustfile, the relay and the probe import, and no bytecode. Nothing of the report
# (matplotlib: 75 MB), nor of fitting levels to reads (numba: 192 MB): both are work for whoever has the results. Of
# pod5's own dependencies, those of its library and not of its command line, which wants polars: 170 MB.
FROM ${BASE_IMAGE} AS loadgen-environment
ARG INDEX=
RUN python -m venv --without-pip /opt/fiveways
COPY constraints.txt /
RUN pip --python /opt/fiveways/bin/python install --no-cache-dir --no-compile \
      ${INDEX:+--index-url "$INDEX"} --constraint /constraints.txt \
      deprecated flask geventhttpclient gevent h5py httpx iso8601 lib-pod5 locust more-itertools numpy \
      ont-fast5-api orjson packaging prometheus-client psutil pyarrow pyroute2 pysam pytz scipy setuptools tqdm \
      vbz-h5py-plugin
COPY --from=wheel /wheels /wheels
RUN pip --python /opt/fiveways/bin/python install --no-cache-dir --no-compile --no-deps \
      ${INDEX:+--index-url "$INDEX"} --constraint /constraints.txt pod5 /wheels/*.whl
# Where locust finds it, whichever Python the base image has.
RUN ln -s /opt/fiveways/lib/python3*/site-packages/loadgen/basecall.py /opt/fiveways/locustfile.py

FROM ${BASE_IMAGE} AS loadgen
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="fiveways load generator" \
      org.opencontainers.image.description="Reads sent to a basecalling service by locust, in bases per second" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=loadgen-environment /opt/fiveways /opt/fiveways
ENV PATH=/opt/fiveways/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 LOCUST_LOCUSTFILE=/opt/fiveways/locustfile.py
WORKDIR /tmp
USER 65532:65532
# A master's, for its workers.
EXPOSE 5557
ENTRYPOINT ["locust"]

FROM ${BASE_IMAGE} AS service
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="fiveways service" \
      org.opencontainers.image.description="Nanopore basecalling over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=service-environment /opt/fiveways /opt/fiveways
# HOME holds caches: numba's compiled functions, matplotlib's fonts.
ENV PATH=/opt/fiveways/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 FIVEWAYS_HOST=0.0.0.0 FIVEWAYS_PORT=8000
WORKDIR /tmp
USER 65532:65532
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"FIVEWAYS_PORT\"]}/healthz', timeout=4)"]
ENTRYPOINT ["fiveways"]
CMD ["serve"]
