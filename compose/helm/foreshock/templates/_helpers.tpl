{{- define "foreshock.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Labels of an object. Argument: {root, component}. */ -}}
{{- define "foreshock.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "foreshock.selector" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Labels of the pods of a component; of all pods without one. */ -}}
{{- define "foreshock.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- /* Argument: {root, image}. */ -}}
{{- define "foreshock.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* Name of a component's service account. Argument: {root, component, account}. */ -}}
{{- define "foreshock.serviceAccount" -}}
{{- if .account.name -}}
{{- .account.name -}}
{{- else if .account.create -}}
{{- printf "%s-%s" (include "foreshock.fullname" .root) .component -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- /* The hub's Secret with users and tokens. */ -}}
{{- define "foreshock.hub.authSecret" -}}
{{- default (printf "%s-hub-auth" (include "foreshock.fullname" .)) .Values.hub.auth.existingSecret -}}
{{- end -}}

{{- /* URL of the hub in links; the one of a port-forward where nothing else is known. */ -}}
{{- define "foreshock.hub.url" -}}
{{- $ingress := .Values.hub.ingress -}}
{{- if .Values.hub.config.external_url -}}
{{- trimSuffix "/" .Values.hub.config.external_url -}}
{{- else if and $ingress.enabled $ingress.host -}}
{{- printf "%s://%s" (ternary "https" "http" (not (empty $ingress.tlsSecret))) $ingress.host -}}
{{- else -}}
http://127.0.0.1:8050
{{- end -}}
{{- end -}}

{{- /* Options of the hub: the chart's, overridden by hub.config. */ -}}
{{- define "foreshock.hub.config" -}}
{{- $auth := .Values.hub.auth -}}
{{- $config := dict "host" "0.0.0.0" "store_path" "/var/lib/foreshock/store" "scrape_interval" .Values.scrapeInterval -}}
{{- if $auth.enabled -}}
{{- range $option, $key := dict "auth_basic_file" $auth.keys.users "auth_token_file" $auth.keys.tokens "otlp_token_file" $auth.keys.otlpTokens -}}
{{- with $key -}}
{{- $_ := set $config $option (printf "/etc/foreshock/auth/%s" .) -}}
{{- end -}}
{{- end -}}
{{- if not $auth.existingSecret -}}
{{- $_ := set $config "roles" (list "admin=admin") -}}
{{- end -}}
{{- else -}}
{{- $_ := set $config "allow_unauthenticated" true -}}
{{- end -}}
{{- if .Values.hub.ingress.enabled -}}
{{- $_ := set $config "external_url" (include "foreshock.hub.url" .) -}}
{{- end -}}
{{- $own := .Values.hub.config -}}
{{- if and .Values.exporter.enabled (not (or $own.prometheus_url $own.targets $own.targets_file $own.recording)) -}}
{{- $_ := set $config "targets" (list (printf "%s-exporter:10877" (include "foreshock.fullname" .))) -}}
{{- end -}}
{{- toYaml (merge (dict) $own $config) -}}
{{- end -}}
