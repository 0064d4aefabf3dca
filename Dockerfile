# Two images: `service` answers, `loadgen` asks. Neither runs as root, nor writes anywhere but to /tmp; the second has
# no shell, and is smaller than what it is made from.
#
#   make image                              # both, with docker; BUILDER=buildah works as well
#   docker build --target service --tag fiveways-service:0.1.0 .
#
# Versions are those of constraints.txt. Nothing here is known to BuildKit alone.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

# A compiler, for models/native, and what comes with it.
FROM ${BASE_IMAGE} AS tools
RUN command -v g++ || { apt-get update && apt-get install -y --no-install-recommends g++ \
      && rm -rf /var/lib/apt/lists/*; }

# This project as a wheel, for both.
FROM tools AS wheel
ARG INDEX=
# Of the files in the wheel: the same sources make the same bytes.
ARG SOURCE_DATE_EPOCH=315532800
WORKDIR /src
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

# What `loadgen` runs: what the locustfile, the relay and the probe import, and no bytecode. Nothing of verdicts and
# reports (scipy: 113 MB, matplotlib: 75 MB), nor of fitting levels to reads (numba: 192 MB): these are work for whoever
# has the results. Of pod5's own dependencies, those of its library and not of its command line, which wants polars:
# 170 MB.
FROM tools AS loadgen-environment
ARG INDEX=
RUN python -m venv --without-pip /opt/fiveways
COPY constraints.txt /
RUN pip --python /opt/fiveways/bin/python install --no-cache-dir --no-compile \
      ${INDEX:+--index-url "$INDEX"} --constraint /constraints.txt \
      deprecated flask geventhttpclient gevent h5py httpx iso8601 lib-pod5 locust more-itertools numpy \
      ont-fast5-api orjson packaging prometheus-client psutil pyarrow pyroute2 pysam pytz setuptools tqdm \
      vbz-h5py-plugin
COPY --from=wheel /wheels /wheels
RUN pip --python /opt/fiveways/bin/python install --no-cache-dir --no-compile --no-deps \
      ${INDEX:+--index-url "$INDEX"} --constraint /constraints.txt pod5 /wheels/*.whl
# Where locust finds it, whichever Python the base image has.
RUN ln -s /opt/fiveways/lib/python3*/site-packages/loadgen/basecall.py /opt/fiveways/locustfile.py

# All files of the image, in /image: of the base image, Python and the libraries that it and the environment are linked
# to (60 of its 130 MB); of the environment, not tests, headers and sources, what is for other systems, what locust's
# plugin for pytest wants, copies of one of Arrow's libraries under three names, and Arrow's Flight.
FROM loadgen-environment AS loadgen-files
RUN set -eu; case "$(uname -m)" in x86_64) other=aarch64;; *) other=x86_64;; esac; \
    bin="$(dirname "$(command -v python)")"; \
    python="$(readlink -f "$bin/python")"; \
    standard="$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"; \
    { ldd "$python"; find "$standard" /opt/fiveways -name '*.so*' -type f -exec ldd {} +; } \
      | sed -n 's,^\t[^/]*\(/[^ ]*\) .*,\1,p' | grep -v ^/opt/ | sort -u > /libraries; \
    printf '%s\n' '*/__pycache__' '*/test' '*/tests' '*/ensurepip' '*/idlelib' '*/lib2to3' '*/tkinter' '*/turtledemo' \
      "$standard/config-*" "$standard/site-packages" '*/gevent/testing' '*/_pytest' '*/pygments' \
      '*/pyarrow/include' '*/pyarrow/*_flight*' '*/pyarrow/libarrow_python.so' '*/pyarrow/libarrow_python.so.*.*' \
      '*.a' '*.c' '*.cpp' '*.h' '*.hpp' '*.pxd' '*.pxi' '*.pyi' '*.pyx' '*.dll' '*.dylib' "*_$other.so" > /left-out; \
    mkdir -p /image/dev /image/etc /image/proc /image/sys; mkdir -m 1777 /image/tmp; \
    tar --create --absolute-names --dereference --files-from /libraries | tar --extract --directory /image; \
    tar --create --absolute-names --exclude-from /left-out --ignore-failed-read "$bin"/python* "$standard" \
      /opt/fiveways /etc/group /etc/ld.so.cache /etc/nsswitch.conf /etc/passwd | tar --extract --directory /image
# Libraries that were renamed by whoever packed them (*.libs) may not survive it.
RUN find /image/opt /image/usr \( -name '*.so' -o -name '*.so.[0-9]*' \) -type f -not -path '*.libs/*' \
      -exec strip --strip-unneeded {} +

FROM scratch AS loadgen
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="fiveways load generator" \
      org.opencontainers.image.description="Reads sent to a basecalling service by locust, in bases per second" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=loadgen-files /image /
ENV PATH=/opt/fiveways/bin HOME=/tmp PYTHONUNBUFFERED=1 LOCUST_LOCUSTFILE=/opt/fiveways/locustfile.py
WORKDIR /tmp
USER 65532:65532
# What was left out is missed by nobody: reads are simulated, written as fast5 (VBZ) and pod5, read again, and made
# bodies of, as Arrow too; and everything that pods run can be imported.
RUN ["python", "-c", "import locust, loadgen.basecall, loadgen.cluster.probe, loadgen.cluster.relay\nfrom itertools import islice\nfrom pathlib import Path\nfrom loadgen.bodies import ReadSource, prepare_bodies\nfrom reads.simulate import simulate_reads\nfrom reads.writer import read_writer\nreads = [made.read for made in islice(simulate_reads(seed=1), 2)]\nfor name in ('a.fast5', 'a.pod5'):\n    file = Path('/tmp', name)\n    with read_writer(file) as writer:\n        for read in reads:\n            writer.write(read)\n    for body in ('octet-stream', 'arrow', 'arrow-vbz'):\n        made = list(prepare_bodies(ReadSource(paths=(str(file),), body=body)))\n        assert [one.samples for one in made] == [len(read.signal) for read in reads], (name, body)\n    file.unlink()"]
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
