# The image holds the program, the libraries it is linked with and CA certificates: no shell, no package manager.
# Runs as a user without rights, on a read-only root; all that must last is in the databases.
#
#   docker build -t tidelock .
#   docker run --read-only -v ./tidelock.toml:/etc/tidelock/tidelock.toml:ro tidelock

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc make libc6-dev ca-certificates \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# The dependencies are a layer of their own, built again only when they change.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
 && cargo build --release --locked --bin tidelock \
 && rm -rf src
COPY src src
COPY sql sql
# The empty files above may be newer than what was copied.
RUN touch src/lib.rs src/main.rs && cargo build --release --locked --bin tidelock && strip target/release/tidelock
RUN mkdir -p /image/usr/bin /image/etc/ssl/certs /image/etc/tidelock /image/var/tmp \
 && cp target/release/tidelock /image/usr/bin/ \
 && ldd target/release/tidelock | grep -o '/[^ ]*' | xargs -I {} cp -L --parents {} /image/ \
 && cp -L /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && echo 'tidelock:x:65532:65532::/:/usr/bin/false' > /image/etc/passwd \
 && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
 && chown 65532:65532 /image/var/tmp

FROM scratch
COPY --from=build /image /
USER 65532:65532
# A transaction that is larger than memory allows is put aside here while it is received.
ENV TMPDIR=/var/tmp
VOLUME /var/tmp
# Of [http] in the configuration; bind it to this address to reach it from outside of the container.
EXPOSE 8470
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["tidelock", "health"]
ENTRYPOINT ["tidelock"]
CMD ["run"]
