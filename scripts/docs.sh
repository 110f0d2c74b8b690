#!/bin/sh
# Writes the documents of the packages into a directory, which becomes /usr/share/doc/agent-sync,
# with the paths of the repository. A link to a file that is not packaged becomes text.
set -eu
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
for folder in docs docs/design config packaging/prometheus packaging/grafana; do
    mkdir -p "$out/$folder"
done
cp README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE "$out/"
cp docs/*.md docs/figures.svg "$out/docs/"
cp docs/design/*.md "$out/docs/design/"
cp config/* "$out/config/"
cp packaging/prometheus/agent-sync.rules.yaml "$out/packaging/prometheus/"
cp packaging/grafana/agent-sync.json "$out/packaging/grafana/"
for page in "$out"/*.md "$out"/docs/*.md "$out"/docs/design/*.md; do
    grep -o '](\([^)]*\))' "$page" | sed 's/^](//; s/)$//; s/#.*//' | sort -u | while read -r target; do
        case $target in "" | *:*) continue ;; esac
        [ -e "$(dirname "$page")/$target" ] && continue
        # The text of a link may be on two lines.
        name=$(printf %s "$target" | sed 's/[.[\*^$]/\\&/g')
        sed -i -z "s|\[\([^][]*\)\]($name\(#[^)]*\)\?)|\1|g" "$page"
    done
done
