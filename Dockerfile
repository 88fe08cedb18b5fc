# One image for the receiver, the worker, the migrations and the sandbox: `portone-orders --help`.
FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/portone-orders
ENV PATH=/opt/portone-orders/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
# First what changes seldom. Every file is checked against its hash; the embedded servers are left out.
# `--build-arg LOCK=tracing.txt` adds OpenTelemetry (docs/telemetry.md).
ARG LOCK=image.txt
COPY requirements/image.txt requirements/tracing.txt ./
RUN pip install --require-hashes --no-deps --only-binary=:all: --requirement ${LOCK}
COPY pyproject.toml README.md LICENSE ./
COPY service ./service
COPY workers ./workers
COPY cli ./cli
COPY sandbox ./sandbox
COPY client ./client
RUN pip install --no-deps --no-build-isolation . \
 && pip uninstall --yes setuptools pip

FROM python:3.13-slim
LABEL org.opencontainers.image.title="portone-orders" \
      org.opencontainers.image.description="Turns PortOne payment notices into verified order state." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/portone-orders /opt/portone-orders
ENV PATH=/opt/portone-orders/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0
# A number, so that whoever runs it can see that it is not root.
USER 10001:10001
WORKDIR /home
EXPOSE 8080
ENTRYPOINT ["portone-orders"]
CMD ["serve"]
