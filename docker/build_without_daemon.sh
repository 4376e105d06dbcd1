#!/usr/bin/env bash
# Build the image of docker/Dockerfile on a machine without Docker, and try it.
set -euo pipefail

usage() {
    cat <<'END'
usage: docker/build_without_daemon.sh [OPTION]... [-- ARGUMENT...]

Builds the image of docker/Dockerfile with buildah, as root, and tries it: its server runs as the
user of the image with a read-only root, has to pass the health check, and simulates one row.
Prints the image's size, layers and user, and the times.

Needs buildah, curl, iproute2 and util-linux, and debootstrap unless --base is given:
    apt-get install buildah curl iproute2 debootstrap

  --base IMAGE    base of the image; without it, a Debian 12 with Python is made once
  --mirror URL    Debian mirror for that base (default: http://deb.debian.org/debian)
  --storage DIR   where images lie (default: build/container)
  --tag NAME      name of the image (default: energy-flow:cpu)
  --save FILE     also write an archive that `docker load` reads
  --help          show this text
  -- ARGUMENT...  further arguments of `buildah build`, such as --build-arg TORCH_INDEX=URL, or
                  --volume "$PWD/pip.conf:/etc/pip.conf:ro" for a package index of your own
END
}

fail() {
    echo "error: $*" >&2
    exit 1
}

base=
mirror=http://deb.debian.org/debian
storage=build/container
tag=energy-flow:cpu
archive=
while (($#)); do
    case "$1" in
    --help)
        usage
        exit
        ;;
    --)
        shift
        break
        ;;
    --base | --mirror | --storage | --tag | --save)
        (($# > 1)) || fail "$1 needs a value; see --help"
        case "$1" in
        --base) base=$2 ;;
        --mirror) mirror=$2 ;;
        --storage) storage=$2 ;;
        --tag) tag=$2 ;;
        --save) archive=$(realpath "$2") ;;
        esac
        shift 2
        ;;
    *) fail "unknown option '$1'; see --help" ;;
    esac
done

((EUID == 0)) || fail "must run as root: it mounts and changes roots"
for program in buildah curl ip unshare; do
    command -v "$program" >/dev/null || fail "$program is not installed; see --help"
done

cd "$(dirname "$0")/.."
mkdir -p "$storage"
storage=$(realpath "$storage")

# This driver copies whole layers, and so works on every file system, also within a container.
buildah() {
    command buildah --storage-driver vfs --root "$storage/images" --runroot "$storage/run" "$@"
}

# Nothing of a failed attempt stays: the containers made here, and the folder of the trial.
containers=()
scratch=$(mktemp --directory)
clean() {
    ((${#containers[@]} == 0)) || buildah rm "${containers[@]}" >/dev/null || true
    rm -rf "$scratch"
}
trap clean EXIT

# Make the image $1 from Debian's packages.
make_base() {
    local container root
    command -v debootstrap >/dev/null || fail "debootstrap is not installed; see --help"
    container=$(buildah from scratch)
    containers+=("$container")
    root=$(buildah mount "$container")
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm \
        "$root" "$mirror"
    cat >>"$root/etc/apt/sources.list" <<END
deb $mirror bookworm-updates main
deb ${mirror%/}-security bookworm-security main
END
    # What an image needs of no package, less the licences.
    buildah run --isolation chroot "$container" -- sh -ec '
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get upgrade -qq --yes
        rm -rf /var/cache/apt/* /var/lib/apt/lists/* /var/log/* /usr/share/locale/* /usr/share/man/*
        find /usr/share/doc -type f ! -name copyright -delete
    '
    buildah commit --quiet --format docker "$container" "$1" >/dev/null
}

# Print the values that the template $1 finds in the image, one a line.
inspect() {
    buildah inspect --type image --format "$1" "$tag"
}

# Run the command from $5 on in the image that is mounted at $1, as the user $2, on the data in the
# folder $3; wait until its health check $4 passes, and have it simulate. Needs namespaces of its own.
try_server() {
    local root=$1 user=$2 data=$3 health=$4 started=$SECONDS server answer
    shift 4
    mount --bind "$root" "$root"
    mount --options remount,bind,ro "$root"
    mount --rbind /dev "$root/dev"
    mount --types proc proc "$root/proc"
    mount --types tmpfs --options noexec,nosuid,nodev,mode=1777 tmpfs "$root/tmp"
    mount --bind "$data" "$root/data"
    ip link set lo up

    chroot --userspec="$user" "$root" "$@" &
    server=$!
    until chroot --userspec="$user" "$root" sh -c "$health" 2>/dev/null; do
        kill -0 "$server" || { wait "$server"; exit 1; }
        ((SECONDS - started < 120)) || { echo "error: not healthy after 120 s" >&2; exit 1; }
        sleep 0.5
    done
    echo "healthy after $((SECONDS - started)) s"
    # A server that starts is healthy, and not ready yet.
    curl --fail --silent --output /dev/null --retry 120 --retry-delay 1 --retry-all-errors \
        --retry-max-time 120 "http://127.0.0.1:$ENERGY_FLOW_PORT/readyz"
    echo "ready after $((SECONDS - started)) s"

    started=$SECONDS
    answer=$(curl --fail-with-body --silent --show-error --max-time 300 \
        --header "Authorization: Bearer $ENERGY_FLOW_API_KEY" --json '{"embeddings": [[1, 2, 3, 4]]}' \
        "http://127.0.0.1:$ENERGY_FLOW_PORT/v1/simulate")
    [[ $answer == *'"surface":'* ]] || { echo "error: no surface in $answer" >&2; exit 1; }
    echo "simulated one row in $((SECONDS - started)) s"

    # PID namespaces have a /proc of their own, here the one of the image.
    grep --quiet "^Uid:.*${user%:*}$" "$root/proc/$server/status"
    if chroot --userspec="$user" "$root" touch /opt/energy-flow/written 2>/dev/null; then
        echo "error: the root can be written" >&2
        exit 1
    fi
    kill "$server"
    wait "$server"
}

started=$SECONDS
if [[ -z $base ]]; then
    base=localhost/energy-flow-base:bookworm
    if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
        make_base "$base"
        echo "made the base in $((SECONDS - started)) s"
    fi
fi

started=$SECONDS
buildah build --isolation chroot --format docker --file docker/Dockerfile --tag "$tag" \
    --build-arg BASE="$base" "$@" .
echo "built in $((SECONDS - started)) s"

container=$(buildah from "$tag")
containers+=("$container")
root=$(buildah mount "$container")
user=$(inspect '{{.Docker.Config.User}}')
mapfile -t environment < <(inspect '{{range .Docker.Config.Env}}{{println .}}{{end}}')
mapfile -t command < <(inspect \
    '{{range .Docker.Config.Entrypoint}}{{println .}}{{end}}{{range .Docker.Config.Cmd}}{{println .}}{{end}}')
health=$(inspect '{{range .Docker.Config.Healthcheck.Test}}{{.}} {{end}}')
mkdir "$scratch/data"
chown "$user" "$scratch/data"
# The key is as open as the trial: nothing beyond its network reaches this server.
env --ignore-environment "${environment[@]}" ENERGY_FLOW_API_KEY=trial ENERGY_FLOW_SET=embedding_dim=4 \
    unshare --mount --net --pid --fork bash -euo pipefail -c "$(declare -f try_server)"'; try_server "$@"' \
    -- "$root" "$user" "$scratch/data" "${health#CMD }" "${command[@]}"

[[ -z $archive ]] || buildah push --quiet "$tag" "docker-archive:$archive:$tag"
echo "$tag: $(buildah images --format '{{.Size}}' "$tag"), $(inspect '{{len .Docker.RootFS.DiffIDs}}') layers, user $user"
