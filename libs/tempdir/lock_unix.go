//go:build unix && !solaris && !aix

package tempdir

import (
	"os"
	"syscall"
)

// tryLock takes the lock on a file that is there, if nobody holds it. The lock ends with the process at the latest.
func tryLock(path string) (unlock func(), ok bool) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, false
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, false
	}
	return func() { file.Close() }, true
}
