# Before the removal of the files: stops the service, unless this is an upgrade.
if [ "$1" -eq 0 ] && [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now agent-sync.service || :
fi
