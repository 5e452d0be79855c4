# The worker as an image: docker build --tag dreamdata-worker:local .
# docs/docker.md says how it is run, and what of it was tried.

# One for both stages: the environment's Python is a link to the image's. A digest pins it for good:
# docker build --build-arg PYTHON_IMAGE=python:3.13.7-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.13.7-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src

COPY requirements.lock requirements-build.lock ./
RUN python -m venv --without-pip /opt/worker \
    && pip --python /opt/worker/bin/python install --require-hashes --only-binary :all: --requirement requirements.lock \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --only-binary :all: --requirement requirements-build.lock

COPY pyproject.toml README.md ./
COPY schemas schemas
COPY worker worker
RUN /opt/build/bin/hatchling build --target wheel --directory dist \
    && pip --python /opt/worker/bin/python install --no-index --no-deps dist/*.whl

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/worker /opt/worker
# The root file system is read-only in docker-compose.kafka.yml: nothing is compiled at run time.
# Two arenas: threads that come and go would each leave memory behind in one of their own.
ENV PATH=/opt/worker/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2
USER 10001:10001
EXPOSE 8082
STOPSIGNAL SIGTERM
# Alive, not ready: a worker that waits for Kafka, or holds, is healthy. http.client because no proxy stands before it.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT', '8082')), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["dreamdata-worker"]
CMD ["run"]
