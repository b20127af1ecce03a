package handler

import (
	"testing"
	"time"

	imagev1 "github.com/fluxcd/image-reflector-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/libs/kube"
)

func TestOnlyTheTimeOfAScanWaits(t *testing.T) {
	s := &Scanner{ScanTimes: rate.NewLimiter(0, 1)}
	before := &imagev1.ImageRepository{}
	scanned := time.Now().Add(-time.Minute)
	before.Status.LastScanResult = &imagev1.ScanResult{Revision: "a", TagCount: 3, ScanTime: metav1.NewTime(scanned)}
	kube.MarkReady(&before.Status.Conditions, 1, meta.SucceededReason, "successful scan")
	again := func(change func(*imagev1.ImageRepositoryStatus)) *imagev1.ImageRepository {
		after := before.DeepCopy()
		after.Status.LastScanResult.ScanTime = metav1.NewTime(scanned.Add(time.Minute))
		change(&after.Status)
		return after
	}
	nothing := again(func(*imagev1.ImageRepositoryStatus) {})
	if s.mayWait(before, nothing) {
		t.Error("the first of a second waits")
	}
	if !s.mayWait(before, nothing) {
		t.Error("what is too much for a second does not wait")
	}
	for name, change := range map[string]func(*imagev1.ImageRepositoryStatus){
		"other tags": func(s *imagev1.ImageRepositoryStatus) { s.LastScanResult.TagCount = 4 },
		"an answer":  func(s *imagev1.ImageRepositoryStatus) { s.LastHandledReconcileAt = "now" },
		"another condition": func(s *imagev1.ImageRepositoryStatus) {
			kube.MarkReady(&s.Conditions, 1, meta.SucceededReason, "other")
		},
		"an old time": func(s *imagev1.ImageRepositoryStatus) {
			s.LastScanResult.ScanTime = metav1.NewTime(scanned.Add(2 * timeLag))
		},
	} {
		if s.mayWait(before, again(change)) {
			t.Errorf("%s waits", name)
		}
	}
	if s.mayWait(&imagev1.ImageRepository{}, nothing) {
		t.Error("a first scan waits")
	}
}
