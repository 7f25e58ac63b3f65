package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"strconv"
	"time"
)

const thingsGroup, thingsVersion = "things.lab.tenantry.dev", "v1"

type object = map[string]any

// hook serves over TLS what an API server asks of extensions: an admission webhook at /admit, which refuses what is
// labelled refused, a conversion webhook at /convert, and the API things.lab.tenantry.dev/v1.
func hook(ctx context.Context, words []string) error {
	flags := flag.NewFlagSet("hook", flag.ExitOnError)
	port := flags.Int("port", 8443, "port to listen on")
	certificate := flags.String("certificate", "/tls/tls.crt", "file with the certificate")
	key := flags.String("key", "/tls/tls.key", "file with its key")
	_ = flags.Parse(words)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /admit", review(admit))
	mux.HandleFunc("POST /convert", review(convert))
	root := "GET /apis/" + thingsGroup + "/" + thingsVersion
	mux.HandleFunc(root, send(object{
		"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": thingsGroup + "/" + thingsVersion,
		"resources": []object{{
			"name": "things", "singularName": "thing", "namespaced": false, "kind": "Thing", "verbs": []string{"get", "list"},
		}},
	}))
	mux.HandleFunc(root+"/things", send(object{
		"kind": "ThingList", "apiVersion": thingsGroup + "/" + thingsVersion, "metadata": object{}, "items": []object{{
			"metadata": object{"name": "only"},
		}},
	}))
	server := &http.Server{Addr: ":" + strconv.Itoa(*port), ReadHeaderTimeout: 5 * time.Second, Handler: mux}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServeTLS(*certificate, *key); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func send(content object) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(content)
	}
}

// review answers an AdmissionReview or a ConversionReview.
func review(answer func(request object) object) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var content object
		if err := json.NewDecoder(r.Body).Decode(&content); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		request, _ := content["request"].(object)
		response := answer(request)
		response["uid"] = request["uid"]
		send(object{"kind": content["kind"], "apiVersion": content["apiVersion"], "response": response})(w, r)
	}
}

func admit(request object) object {
	candidate, _ := request["object"].(object)
	metadata, _ := candidate["metadata"].(object)
	labels, _ := metadata["labels"].(object)
	if _, refused := labels["refused"]; refused {
		return object{"allowed": false, "status": object{"message": "refused by the hook"}}
	}
	return object{"allowed": true}
}

func convert(request object) object {
	given, _ := request["objects"].([]any)
	converted := make([]any, 0, len(given))
	for _, one := range given {
		if content, ok := one.(object); ok {
			content["apiVersion"] = request["desiredAPIVersion"]
			converted = append(converted, content)
		}
	}
	return object{"result": object{"status": "Success"}, "convertedObjects": converted}
}
