package payload

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// links are the addresses in a list of links, or in a single one.
type links []string

// UnmarshalJSON takes any value; what is no link is left out.
func (l *links) UnmarshalJSON(data []byte) error {
	type link struct {
		Href text `json:"href"`
	}
	var one link
	if json.Unmarshal(data, &one) == nil {
		*l = append(*l, string(one.Href))
		return nil
	}
	var many []link
	if json.Unmarshal(data, &many) == nil {
		for _, m := range many {
			*l = append(*l, string(m.Href))
		}
	}
	return nil
}

// digest tells bodies apart.
func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
