package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// service is one outside, which is told things. Each request takes it a while.
type service struct {
	*httptest.Server
	name  string
	takes time.Duration
	hear  func(s *service, r *http.Request, body []byte) (answer string) // under mu

	mu     sync.Mutex
	posts  int // requests that say something new, edits those that change what was said, looks the others
	edits  int
	looks  int
	said   map[string]string // what was last said, by about what
	last   time.Time         // when something was last said
	number int
}

func newService(name string, takes time.Duration, hear func(*service, *http.Request, []byte) string) *service {
	s := &service{name: name, takes: takes, hear: hear, said: map[string]string{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		time.Sleep(s.takes)
		s.mu.Lock()
		answer := s.hear(s, r, body)
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	return s
}

// forget begins to count anew.
func (s *service) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts, s.edits, s.looks, s.said = 0, 0, 0, map[string]string{}
}

// count is of how much it was last said.
func (s *service) count(word string) (n int, last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, said := range s.said {
		if said == word {
			n++
		}
	}
	return n, s.last
}

func (s *service) say(about, word string, n *int) {
	*n++
	s.said[about], s.last = word, time.Now()
}

// hearChat is Slack's Web API. The word is what the title says.
func hearChat(s *service, r *http.Request, body []byte) string {
	var message struct {
		TS   string `json:"ts"`
		Text string `json:"text"`
	}
	_ = json.Unmarshal(body, &message)
	if strings.HasSuffix(r.URL.Path, "chat.update") {
		s.say("", message.Text, &s.edits)
	} else {
		s.number++
		message.TS = fmt.Sprintf("%d.0", s.number)
		s.say("", message.Text, &s.posts)
	}
	return fmt.Sprintf(`{"ok":true,"channel":"C1","ts":%q}`, message.TS)
}

// hearEvents takes events in Flux's form. The word is reason and revision, by object.
func hearEvents(s *service, _ *http.Request, body []byte) string {
	var event struct {
		InvolvedObject struct{ Kind, Name string }
		Reason         string
		Metadata       map[string]string
	}
	_ = json.Unmarshal(body, &event)
	s.say(event.InvolvedObject.Kind+"/"+event.InvolvedObject.Name, event.Reason+" "+event.Metadata["revision"], &s.posts)
	return "{}"
}

// hearStatuses is Gitea's API. The word is state and commit, by the status's name.
func hearStatuses(s *service, r *http.Request, body []byte) string {
	if r.Method != http.MethodPost {
		s.looks++
		return "[]"
	}
	var status struct{ Context, State string }
	_ = json.Unmarshal(body, &status)
	s.say(status.Context, status.State+" "+r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], &s.posts)
	return "{}"
}
