# After the installation of the files: creates the directories for settings and secrets, and lets
# the presets of the system decide whether the service starts at boot.
install -d -m 0755 /etc/agent-sync/databases.d
# Only root can read it; the service gets its files as credentials.
install -d -m 0700 /etc/agent-sync/secrets
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -eq 1 ]; then
        systemctl --no-reload preset agent-sync.service || :
    fi
fi
if [ "$1" -eq 1 ]; then
    echo "agent-sync is not configured yet: /usr/share/doc/agent-sync/docs/deploy-rpm.md says how."
fi
