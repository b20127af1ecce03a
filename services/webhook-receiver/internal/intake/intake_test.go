package intake

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	receiverv1 "github.com/fluxcd/notification-controller/api/v1"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/door"
	"github.com/sluice-cd/sluice/services/webhook-receiver/internal/verify"
)

// oneReading reads keys anew once in a while at most, whoever asks for it.
type oneReading struct {
	doors *door.Doors
	read  bool
}

var gitlab = &receiverv1.Receiver{Spec: receiverv1.ReceiverSpec{Type: "gitlab", Suspend: true}}

func (k *oneReading) set(keys verify.Keys) {
	k.doors.Set(types.NamespacedName{}, door.ForReceiver(gitlab, &door.Rules{}, keys))
}

func (k *oneReading) Used(*door.Door) { k.read = true } // beside the call: it comes too late for it

func (k *oneReading) Again(context.Context, *door.Door) bool {
	if k.read {
		return false
	}
	k.read = true
	k.set(verify.Keys{Token: []byte("new"), Previous: []byte("old")})
	return true
}

// The first call with a new key is taken, also when the keys were not read for long: many hosts do not come again.
func TestFirstCallWithNewKey(t *testing.T) {
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	keeper := &oneReading{doors: door.NewDoors()}
	keeper.set(verify.Keys{Token: []byte("old")})
	i := (&Intake{
		Options: Options{MaxBody: 1024, Concurrency: 1}, Doors: keeper.doors, Keeper: keeper, Metrics: metrics, Log: slog.New(slog.DiscardHandler),
	}).Prepare()
	r := httptest.NewRequest(http.MethodPost, door.Path(gitlab, []byte("old")), strings.NewReader("{}"))
	r.Header.Set("X-Gitlab-Token", "new")
	w := httptest.NewRecorder()
	i.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable { // it is suspended, which is told to who proves good alone
		t.Errorf("answer %d", w.Code)
	}
}
