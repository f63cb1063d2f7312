package nearest

import "testing"

func TestWord(t *testing.T) {
	words := []string{"status", "pages", "locks", "node", "run", "bench", "is", "ep", "socket", "secret-file"}
	for _, tc := range []struct{ wrong, want string }{
		{"stauts", "status"},
		{"STATUS", "status"},
		{"page", "pages"},
		{"stat", "status"},
		{"benchmark", "bench"},
		{"rnu", "run"},
		{"secret", "secret-file"},
		{"sokcets", "socket"},
		{"ip", "is"},
		{"colour", ""},
		{"x", ""},
		{"", ""},
	} {
		if got := Word(tc.wrong, words); got != tc.want {
			t.Errorf("Word(%q) = %q, want %q", tc.wrong, got, tc.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0},
		{"kitten", "sitting", 3}, {"ab", "ba", 1}, {"stauts", "status", 1}, {"abcd", "acbd", 1},
	} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
		if got := distance(tc.b, tc.a); got != tc.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tc.b, tc.a, got, tc.want)
		}
	}
}

func TestSuggest(t *testing.T) {
	if got := Suggest("secret", []string{"secret-file", "seed"}, "--", "see help"); got != "did you mean --secret-file?" {
		t.Error(got)
	}
	if got := Suggest("colour", []string{"seed"}, "--", "see help"); got != "see help" {
		t.Error(got)
	}
}
