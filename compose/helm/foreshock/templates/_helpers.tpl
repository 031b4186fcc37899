{{- /* With `-hub`, a StatefulSet's name may have 52 characters: a label of its pods is that name and a hash. */ -}}
{{- define "foreshock.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
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

{{- /* Scheme of the hub's own port. */ -}}
{{- define "foreshock.hub.scheme" -}}
{{- ternary "https" "http" (not (empty .Values.hub.config.tls_cert)) -}}
{{- end -}}

{{- /* URL of the hub in links; the one of a port-forward where nothing else is known. */ -}}
{{- define "foreshock.hub.url" -}}
{{- $ingress := .Values.hub.ingress -}}
{{- if .Values.hub.config.external_url -}}
{{- trimSuffix "/" .Values.hub.config.external_url -}}
{{- else if and $ingress.enabled $ingress.host -}}
{{- printf "%s://%s" (ternary "https" "http" (not (empty $ingress.tlsSecret))) $ingress.host -}}
{{- else -}}
{{- include "foreshock.hub.scheme" . }}://127.0.0.1:8050
{{- end -}}
{{- end -}}

{{- /* Options of the hub: the chart's, overridden by hub.config. */ -}}
{{- define "foreshock.hub.config" -}}
{{- $auth := .Values.hub.auth -}}
{{- $config := dict "host" "0.0.0.0" "store_path" "/var/lib/foreshock/store" -}}
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
{{- if include "foreshock.hub.scrapes" . -}}
{{- $_ := set $config "targets_file" "/etc/foreshock/config/targets.yaml" -}}
{{- end -}}
{{- toYaml (merge (dict) .Values.hub.config $config) -}}
{{- end -}}

{{- /* Whether the hub scrapes: the exporters, which it finds by the Kubernetes API, and hub.scrapeConfigs. Empty if not. */ -}}
{{- define "foreshock.hub.scrapes" -}}
{{- $hub := .Values.hub -}}
{{- if and (or .Values.exporter.enabled $hub.scrapeConfigs) (not (or $hub.demo $hub.config.prometheus_url $hub.config.targets_file $hub.config.recording)) -}}
true
{{- end -}}
{{- end -}}

{{- /* Whether the hub finds pods by the Kubernetes API: with the chart's scrape jobs, or with hub.config.targets_file. Empty if not. */ -}}
{{- define "foreshock.hub.discovers" -}}
{{- if or (include "foreshock.hub.scrapes" .) (and .Values.hub.config.targets_file .Values.hub.serviceAccount.automount) -}}
true
{{- end -}}
{{- end -}}

{{- /* The hub's file of scrape targets. */ -}}
{{- define "foreshock.hub.targets" -}}
{{- $jobs := list -}}
{{- if .Values.exporter.enabled -}}
{{- $labels := include "foreshock.selector" (dict "root" . "component" "exporter") | fromYaml -}}
{{- $selector := list -}}
{{- range $name, $value := $labels -}}
{{- $selector = append $selector (printf "%s=%s" $name $value) -}}
{{- end -}}
{{- $pods := dict "role" "pod" "namespaces" (dict "names" (list .Release.Namespace)) "selectors" (list (dict "role" "pod" "label" (join "," $selector))) -}}
{{- $instance := dict "source_labels" (list "__meta_kubernetes_pod_node_name") "target_label" "instance" -}}
{{- /* An evicted pod is listed until it is deleted, under the node of its successor. */ -}}
{{- $ended := dict "source_labels" (list "__meta_kubernetes_pod_phase") "regex" "Failed|Succeeded" "action" "drop" -}}
{{- $job := dict "job_name" "foreshock-exporter" "kubernetes_sd_configs" (list $pods) "relabel_configs" (list $ended $instance) -}}
{{- $jobs = append $jobs (merge (dict) .Values.hub.exporterScrapeConfig $job) -}}
{{- end -}}
{{- toYaml (dict "scrape_configs" (concat $jobs .Values.hub.scrapeConfigs)) -}}
{{- end -}}
