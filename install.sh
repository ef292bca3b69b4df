#!/usr/bin/env bash
# Make this machine a Kubernetes cluster of one node: sudo ./install.sh
# Or a node of a cluster that another machine is the server of: sudo ./install.sh agent
# For Debian 12 and 13 and Raspberry Pi OS. May be run again at any time: it upgrades edgekube and leaves containers running.
#
#   agent                       with a token, or with a code that a person types on the server (docs/joining.md); its settings:
#     --token-file FILE         join with the token in FILE; - reads it from standard input
#     --server URL              https://HOST:6443; without it the server is found by mDNS. May be given several times
#     --cluster NAME            join no cluster but this one: its name, id, or the beginning of its CA's fingerprint
#   --node-name, --node-ip      as in docs/configuration.md; all of these are written into /etc/edgekube/config.yaml
#
#   EDGEKUBE_WHEELS=DIR         take Python packages from this directory only (docs/configuration.md, "Without internet")
#   EDGEKUBE_WAIT_SECONDS=180   how long to wait for the node
#   PYTHON=/usr/bin/python3     the interpreter to build the environment with (3.11 or newer)
#
# `edgekube uninstall` undoes it. The paths below stand in edgekube/cli/installation.py too.
set -euo pipefail

prefix=/opt/edgekube
venv=$prefix/venv
link=/usr/local/bin/edgekube
unit=/etc/systemd/system/edgekube-server.service
agent_unit=/etc/systemd/system/edgekube-agent.service
role_file=$prefix/role
record=$prefix/installed-packages
log_dir=/var/log/edgekube
config=/etc/edgekube/config.yaml
token_file=/etc/edgekube/token
packages=(containerd runc containernetworking-plugins nftables iproute2 conntrack python3-venv busybox-static)
wait_seconds=${EDGEKUBE_WAIT_SECONDS:-180}

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=''
policy=''
began=$SECONDS

step() { printf '[%3d s] %s\n' $((SECONDS - began)) "$*"; }
fail() { printf '\ninstall.sh: %s\n' "$1" >&2; shift; [ $# -eq 0 ] || printf '  %s\n' "$@" >&2; exit 1; }
cleanup() { [ -z "$scratch" ] || rm -rf "$scratch"; [ -z "$policy" ] || rm -f "$policy"; }
trap cleanup EXIT

systemd_runs() { [ -d /run/systemd/system ]; }
installed() { [ "$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null || true)" = 'install ok installed' ]; }

# Run something long with its output in the log; show the end of it when it fails. The second argument says what to do then.
logged() {
    local what=$1 advice=$2; shift 2
    printf '\n== %s: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>"$log_dir/install.log"
    if ! "$@" >>"$log_dir/install.log" 2>&1 </dev/null; then
        tail -n 15 "$log_dir/install.log" >&2
        fail "$what failed (all of it: $log_dir/install.log)" "$advice"
    fi
}

role=$(cat "$role_file" 2>/dev/null || true)
# An installation from before there were two roles.
if [ -z "$role" ] && [ -e /var/lib/edgekube/server/state.db ]; then role=server; fi
given_token=''
servers=()
settings=()
while [ $# -gt 0 ]; do
    case $1 in
        server | agent)
            [ -z "$role" ] || [ "$role" = "$1" ] ||
                fail "this machine is an edgekube $role" "to make it the other: sudo edgekube uninstall, then run this again"
            role=$1
            shift
            continue
            ;;
        --token-file | --server | --cluster | --node-name | --node-ip) [ $# -ge 2 ] || fail "$1 needs a value" ;;
        --token) fail "a token on a command line can be read by everybody on this machine" "give --token-file FILE, or - for stdin" ;;
        *) fail "unknown argument $1" "usage: sudo ./install.sh [agent] [--server URL] [--token-file FILE]; the head of this file says more" ;;
    esac
    case $1 in
        --token-file) given_token=$2 ;;
        --server) servers+=("$2") ;;
        *) settings+=("${1#--}: $2") ;;
    esac
    shift 2
done
role=${role:-server}
if [ "$role" = server ] && { [ -n "$given_token" ] || [ ${#servers[@]} -gt 0 ]; }; then
    fail "--token-file and --server are for an agent" "sudo ./install.sh agent ..."
fi
if [ ${#servers[@]} -gt 0 ]; then
    list=$(printf ', %s' "${servers[@]}")
    settings+=("server: [${list#, }]")
fi

[ "$(id -u)" = 0 ] || fail "this installs packages and a service: run it as root" "sudo ./install.sh"
[ -f "$source_dir/pyproject.toml" ] || fail "$source_dir has no pyproject.toml: run install.sh from the checkout it came in"
command -v apt-get >/dev/null || fail "this knows Debian and Raspberry Pi OS only (there is no apt-get here)"
umask 022
mkdir -p "$log_dir"
chmod 750 "$log_dir"

# --- Debian packages ---

missing=()
for package in "${packages[@]}"; do installed "$package" || missing+=("$package"); done
if [ ${#missing[@]} -gt 0 ]; then
    step "installing Debian packages: ${missing[*]}"
    # The packages shall start nothing: edgekube runs a containerd of its own, and the distribution's would idle beside it.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    network_advice="check the network and the clock, then run ./install.sh again; without internet install them from a mirror first"
    logged "apt-get update" "$network_advice" apt-get update -q
    logged "apt-get install" "$network_advice" apt-get install -y -q --no-install-recommends "${missing[@]}"
    [ -z "$policy" ] || { rm -f "$policy"; policy=''; }
    for package in "${missing[@]}"; do
        # Nor at the next boot. One that was here before belongs to somebody and is left as it is.
        if [ "$package" = containerd ] && systemd_runs; then systemctl disable containerd.service >/dev/null 2>&1 || true; fi
    done
else
    step "Debian packages are installed"
fi

# --- the program ---

python=${PYTHON:-/usr/bin/python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is older than Python 3.11" "use Debian 12 or newer, or name another: sudo PYTHON=/path/to/python3 ./install.sh"
mkdir -p "$prefix/bin"
# Kept over upgrades, so that uninstall can name what install.sh once added.
{ cat "$record" 2>/dev/null || true; printf '%s\n' "${missing[@]}"; } | sed '/^$/d' | sort -u >"$record.new"
mv "$record.new" "$record"

wanted=$("$python" -c 'import sys; print(*sys.version_info[:2])')
found=$("$venv/bin/python" -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null || true)
if [ "$wanted" != "$found" ] || ! [ -x "$venv/bin/pip" ]; then
    step "making a Python environment in $venv"
    logged "python3 -m venv" "sudo apt-get install python3-venv" "$python" -m venv --clear "$venv"
fi

step "installing edgekube (the first time a few minutes on a Raspberry Pi)"
pip=("$venv/bin/pip" --disable-pip-version-check --no-input)
index=()
pip_advice="check the network and the clock, then run ./install.sh again; without internet see EDGEKUBE_WHEELS in docs/configuration.md"
if [ -n "${EDGEKUBE_WHEELS:-}" ]; then
    [ -d "$EDGEKUBE_WHEELS" ] || fail "EDGEKUBE_WHEELS=$EDGEKUBE_WHEELS is no directory"
    index=(--no-index --find-links "$EDGEKUBE_WHEELS")
    pip_advice="make the directory on a machine of the same kind with: pip wheel -w DIR . hatchling kubernetes-validate grpcio-tools"
fi
scratch=$(mktemp -d)
version=$(sed -n 's/^PACKAGE_VERSION = "\(.*\)"/\1/p' "$source_dir/edgekube/version.py")
ready_made=("${EDGEKUBE_WHEELS:-/nonexistent}"/edgekube-"$version"-*.whl)
if [ -e "${ready_made[0]}" ]; then
    wheel=${ready_made[0]}
else
    # Built from a copy: a checkout may be read-only, and root shall leave no files in it.
    mkdir "$scratch/source" "$scratch/wheel"
    cp -R "$source_dir"/{pyproject.toml,README.md,LICENSE,edgekube,build_hooks} "$scratch/source/"
    logged "building edgekube" "$pip_advice" "${pip[@]}" wheel "${index[@]}" --no-deps -w "$scratch/wheel" "$scratch/source"
    wheel=$(echo "$scratch"/wheel/edgekube-*.whl)
fi
upgrade=no
[ ! -e "$venv/bin/edgekube" ] || upgrade=yes
logged "pip install" "$pip_advice" "${pip[@]}" install "${index[@]}" "$wheel"
# pip leaves an installed edgekube of the same version alone, but this one may be newer.
[ "$upgrade" = no ] || logged "pip install" "$pip_advice" "${pip[@]}" install "${index[@]}" --no-deps --force-reinstall "$wheel"

install -m 755 "$source_dir/systemd/edgekube-supervise" "$prefix/bin/edgekube-supervise"
mkdir -p "$(dirname "$link")"
ln -sfn "$venv/bin/edgekube" "$link"

echo "$role" >"$role_file"
[ "$role" = server ] || unit=$agent_unit

if [ ! -e "$config" ]; then
    install -d -m 755 "$(dirname "$config")"
    cat >"$config" <<'CONFIG'
# Settings of edgekube; docs/configuration.md lists them all. Restart the service after a change.
#node-name: pi-7
#node-ip: 192.168.1.20
#cluster-cidr: 10.42.0.0/16
#service-cidr: 10.43.0.0/16
CONFIG
fi
if [ -n "$given_token" ]; then
    # Written before it is read: nobody else sees it, not even for a moment.
    (umask 077 && : >"$token_file")
    chmod 600 "$token_file"
    if [ "$given_token" = - ]; then cat >"$token_file"; else cat "$given_token" >"$token_file"; fi
    grep -q '^EK1::' "$token_file" || fail "there is no token in $given_token" "sudo edgekube token create, on the server, prints one"
    settings+=("token-file: $token_file")
fi
for setting in "${settings[@]}"; do
    { sed "/^${setting%%:*}:/d" "$config"; echo "$setting"; } >"$scratch/config"
    cat "$scratch/config" >"$config"
done

# --- the host ---

step "checking this host"
if ! "$venv/bin/edgekube" check >"$scratch/check" 2>&1; then
    sed 's/^/         /' "$scratch/check" >&2
    fail "this host cannot run edgekube yet" "do what stands under BLOCKS above, then run ./install.sh again"
fi
sed 's/^/         /' "$scratch/check"

# --- the service ---

if systemd_runs; then
    step "starting the service (systemd: edgekube-$role)"
    install -m 644 "$source_dir/systemd/edgekube-$role.service" "$unit"
    systemctl daemon-reload
    systemctl enable "edgekube-$role.service" >/dev/null 2>&1
    # Not waited for here: `edgekube status --wait` tells how it gets on. Its containers outlive the restart.
    systemctl restart --no-block "edgekube-$role.service"
else
    step "starting edgekube in the background (PID 1 is not systemd)"
    "$prefix/bin/edgekube-supervise" restart
fi

if ! "$venv/bin/edgekube" status --wait "$wait_seconds"; then
    fail "edgekube is installed, but the node did not become Ready within $wait_seconds s" \
        "the lines above say why; edgekube goes on trying. See docs/troubleshooting.md"
fi

if [ "$role" = agent ]; then
    cat <<DONE

edgekube runs, and this machine is a Ready node of its cluster ($((SECONDS - began)) s). On the server: kubectl get nodes
  sudo edgekube status                              how it is; sudo edgekube uninstall removes it
DONE
else
    cat <<DONE

edgekube runs, and this machine is a Ready node ($((SECONDS - began)) s). Next:

  sudo edgekube kubeconfig --out ~/.kube/config     kubectl for you (mkdir -p ~/.kube before; kubernetes.io/docs/tasks/tools)
  kubectl get nodes
  sudo edgekube image demo                          an image to try, without a registry: docs/first-deployment.md
  sudo edgekube token create                        a token for another machine to join with: docs/joining.md
  sudo edgekube status                              how it is; sudo edgekube uninstall removes it
DONE
fi
if ! systemd_runs; then
    echo "  $prefix/bin/edgekube-supervise start|stop|restart   (not started at boot by itself: PID 1 is not systemd)"
fi
