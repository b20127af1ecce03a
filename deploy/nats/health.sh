#!/bin/sh
# The health check of a NATS server in a container that nobody restarts for being unhealthy: says whether the server is well, and ends one
# that was and has not been for so many looks in a row. From the first write that failed on a full disk a NATS server refuses all others to
# the same stream, also when there is room again, until it is started anew; whoever runs the container does that.
#
#   health.sh URL PID_FILE LOOKS
#
# The count lies beside PID_FILE, which should be where a full disk does not reach, such as /dev/shm. Until the server is well for the first
# time nothing is counted: it may have much to read when it starts.
set -u
url=$1 pid_file=$2 looks=$3
count_file=$pid_file.unwell

if wget -q -T 2 -O /dev/null "$url"; then
	echo 0 >"$count_file"
	exit 0
fi
if [ -f "$count_file" ]; then
	count=$(($(cat "$count_file") + 1))
	echo "$count" >"$count_file"
	if [ "$count" -ge "$looks" ]; then
		rm -f "$count_file"
		kill -9 "$(cat "$pid_file")" # what it acknowledged is on the disk
	fi
fi
exit 1
