// Package news decides what of all that services tell one another is worth telling people: changes of state of one object, each once. It knows
// no alerts and no channels.
package news
