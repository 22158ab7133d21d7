#!/bin/bash
# A Slurm cluster of this machine alone, on the loopback address, in a folder of its own; as root, which slurmd needs.
#
#   tools/one_node_slurm.sh start FOLDER     then: export SLURM_CONF=FOLDER/slurm.conf
#   tools/one_node_slurm.sh stop FOLDER
set -eu
what=$1 folder=$(realpath -m "$2")

start() {
    mkdir -p "$folder/state" "$folder/spool" "$folder/munge"
    chmod 711 "$folder" && chmod 755 "$folder/munge"
    (umask 077 && head -c 1024 /dev/urandom > "$folder/munge/key")
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
        --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
    local cores memory
    cores=$(nproc) memory=$(awk '/MemTotal/ {print int($2 / 2048)}' /proc/meminfo)
    cat > "$folder/slurm.conf" <<END
ClusterName=one
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
MailProg=/bin/true
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=$(hostname -s) Default=YES MaxTime=INFINITE State=UP
END
    export SLURM_CONF=$folder/slurm.conf
    slurmctld
    slurmd
    for _ in $(seq 60); do
        [ "$(sinfo -h -o %t 2>/dev/null)" = idle ] && exit 0
        sleep 0.5
    done
    echo "error: the node does not become idle; see $folder/slurmctld.log and slurmd.log" >&2
    exit 1
}

stop() {
    export SLURM_CONF=$folder/slurm.conf
    timeout 10 scancel --user="$(id -un)" 2>/dev/null || jobs=none
    [ "${jobs:-}" = none ] || for _ in $(seq 80); do  # jobs outlive slurmd; Slurm kills them after 30 seconds
        [ -z "$(timeout 5 squeue -h 2>/dev/null)" ] && break
        sleep 0.5
    done
    for name in slurmd slurmctld munge/; do
        file=$folder/${name}
        [ "$name" = munge/ ] && file=$folder/munge/pid || file=$file.pid
        [ -f "$file" ] && kill "$(cat "$file")" || true
    done
}

"$what"
