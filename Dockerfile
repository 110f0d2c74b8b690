# agent-sync as an image: one program on a base without a shell, as an unprivileged user.
#
#   docker build --build-arg COMMIT="$(git rev-parse HEAD)" -t agent-sync .
#
# The same commit and base images give the same program. Pin the bases by digest for that
# (docs/building.md):
#   --build-arg BUILD_IMAGE=docker.io/library/rust:1-bookworm@sha256:… --build-arg BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot@sha256:…

ARG BUILD_IMAGE=docker.io/library/rust:1-bookworm
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM $BUILD_IMAGE AS build
# The program names its crates, for scanners of images.
RUN cargo install --locked --version 0.7.7 cargo-auditable
WORKDIR /build
# The dependencies first, in a layer that is rebuilt only when they change; the program is a
# placeholder.
COPY Cargo.toml Cargo.lock ./
COPY demo/Cargo.toml demo/
COPY testbed/Cargo.toml testbed/
COPY tests/model/Cargo.toml tests/model/
RUN mkdir -p src tests benches demo/src testbed/src \
    && echo 'fn main() {}' | tee build.rs src/main.rs src/lib.rs tests/main.rs tests/model/mod.rs benches/main.rs demo/src/main.rs >testbed/src/lib.rs \
    && AGENT_SYNC_VERSION= cargo auditable build --release --locked --bin agent-sync \
    && rm -r src build.rs
COPY build.rs ./
COPY src src
COPY sql sql
COPY config config
ARG COMMIT=
# A placeholder that is newer than the copied sources must not be used.
RUN find build.rs src sql config -exec touch {} + \
    && AGENT_SYNC_COMMIT=$COMMIT cargo auditable build --release --locked --bin agent-sync

FROM $BASE_IMAGE
ARG COMMIT=
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="agent-sync" \
      org.opencontainers.image.description="Keeps agent_configurations in sync with agents: a daemon for PostgreSQL" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build /build/target/release/agent-sync /usr/local/bin/agent-sync
# By number, so an orchestrator can verify that it is not root.
USER 65532:65532
STOPSIGNAL SIGTERM
# Live, not ready: an unhealthy container is restarted, and an unreachable database is no reason for
# a restart.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/agent-sync", "probe", "live"]
ENTRYPOINT ["/usr/local/bin/agent-sync"]
CMD ["run"]
