#!/bin/sh
# Stands in for markab-shell in the launcher's own tests: notes what it is asked in the file "asked" beside it.
now=$(date +%s%N)
here=$(dirname "$0")
while [ $# -gt 1 ]; do
  [ "$1" = -c ] && command=$2
  shift
done
echo "$now $command" >>"$here/asked"
case $command in
  nodes*) for node in "$here"/nodes/*; do echo "$(basename "$node")  ALIVE"; done ;;
  report_death*) [ ! -e "$here/refuse" ] || { echo "no leader" >&2; exit 1; } ;;
esac
