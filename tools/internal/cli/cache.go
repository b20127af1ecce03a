package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/libs/imagecache"
)

// newCache serves the embedded image cache alone, for services as separate processes on a machine that has no Redis.
func newCache() *cobra.Command {
	var dir, addr string
	cmd := &cobra.Command{
		Use:   "cache-server --data-dir DIR",
		Short: "Run the image cache that is built in, alone",
		Long: "Run the server with the protocol of Redis that is built in, so that registry-scanner and image-updater can run as separate processes on\n" +
			"a machine without Redis. It keeps nothing on disk but its password, in DIR/cache.password, and the key of the cache, in DIR/cache.key.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, _, err := imagecache.StartEmbeddedAt(addr, dir)
			if err != nil {
				return err
			}
			defer server.Stop()
			fmt.Fprintln(cmd.OutOrStdout(), "ready:", server.Addr())
			<-cmd.Context().Done()
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "", "directory of the password and the key, which services are given")
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:6379", "listen address; port 0 takes a free one")
	_ = cmd.MarkFlagRequired("data-dir")
	return cmd
}
