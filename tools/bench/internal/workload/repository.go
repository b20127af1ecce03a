package workload

import (
	"embed"
	"fmt"
)

//go:embed base/*.yaml
var base embed.FS

// objectFiles are the objects of an application, in the order in which they are applied.
var objectFiles = []string{"serviceaccount.yaml", "settings.yaml", "service.yaml", "deployment.yaml"}

const (
	// ValueKey is the key of an application's ConfigMap with the value that its own commits change.
	ValueKey = "value"
	// SettingsName is the name of that ConfigMap.
	SettingsName = "settings"
	// RoundAnnotation is on all objects; a commit to the base changes it.
	RoundAnnotation = "example.com/round"
	// PlainPath is the path of the base's objects without a namespace.
	PlainPath = "./plain"
)

// AppName is the name of an application and of its namespace.
func AppName(i int) string { return fmt.Sprintf("app-%04d", i) }

// AppPath is where the repository has an application.
func AppPath(app string) string { return "./apps/" + app }

// Files are all files of the repository with so many applications, each at round 0 and value 0.
func Files(apps int) (map[string]string, error) {
	files := map[string]string{
		"plain/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - ../base\n",
	}
	for _, name := range objectFiles {
		content, err := base.ReadFile("base/" + name)
		if err != nil {
			return nil, fmt.Errorf("read base: %w", err)
		}
		files["base/"+name] = string(content)
	}
	merge(files, Round(0))
	merge(files, Unrelated(0))
	for i := range apps {
		merge(files, app(AppName(i)))
		merge(files, Value(AppName(i), 0))
	}
	return files, nil
}

func merge(into, from map[string]string) {
	for name, content := range from {
		into[name] = content
	}
}

func app(name string) map[string]string {
	return map[string]string{"apps/" + name + "/kustomization.yaml": fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: %s
resources:
  - ../../base
patches:
  - path: settings.yaml
`, name)}
}

// Round are the files of a commit that changes every object of every application.
func Round(n int) map[string]string {
	content := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n"
	for _, name := range objectFiles {
		content += "  - " + name + "\n"
	}
	return map[string]string{"base/kustomization.yaml": content + fmt.Sprintf("commonAnnotations:\n  %s: \"%d\"\n", RoundAnnotation, n)}
}

// Value are the files of a commit that changes one object of one application.
func Value(app string, n int) map[string]string {
	return map[string]string{"apps/" + app + "/settings.yaml": fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata:
  name: %s
data:
  %s: "%d"
`, SettingsName, ValueKey, n)}
}

// Unrelated are the files of a commit that touches no application.
func Unrelated(n int) map[string]string {
	return map[string]string{"README.md": fmt.Sprintf("# Applications\n\nEdition %d.\n", n)}
}
