# After the removal of the old files: restarts a running service with those of an upgrade. Settings
# and secrets stay, as do the objects in the databases.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -ge 1 ]; then
        systemctl try-restart agent-sync.service || :
    fi
fi
