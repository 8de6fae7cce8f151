{{- define "accelscope.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name }}{{ $name = .Release.Name }}{{ else }}{{ $name = printf "%s-%s" .Release.Name $name }}{{ end -}}
{{- default $name .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "accelscope.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "accelscope.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "accelscope.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "accelscope.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "accelscope.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- define "accelscope.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end -}}
{{- end }}

{{/* What a probe of a path does. */}}
{{- define "accelscope.probe" -}}
{{- if .root.Values.webConfig.clientCertificates -}}
tcpSocket: {port: metrics}
{{- else -}}
httpGet: {path: {{ .path }}, port: metrics{{ if .root.Values.webConfig.tls }}, scheme: HTTPS{{ end }}}
{{- end -}}
{{- end }}

{{/*
What each kind of device needs of the cluster. `nodes`: labels, any of which with the value true or the one given says
that a node has one. `env`: what the vendor's container runtime reads. `root`, `capabilities` and `roots` are those of
`privileges: metrics`: kernel files that belong to root, and which of the host's file systems are read.
*/}}
{{- define "accelscope.families" -}}
nvidia:
  nodes:
    nvidia.com/gpu.present: "true"
    feature.node.kubernetes.io/pci-10de.present: "true"
    feature.node.kubernetes.io/pci-0300_10de.present: "true"
    feature.node.kubernetes.io/pci-0302_10de.present: "true"
  env: {NVIDIA_VISIBLE_DEVICES: all, NVIDIA_DRIVER_CAPABILITIES: utility}
gaudi:
  nodes:
    habana.ai/device.family: gaudi
    feature.node.kubernetes.io/pci-1da3.present: "true"
    feature.node.kubernetes.io/pci-1200_1da3.present: "true"
  env: {HABANA_VISIBLE_DEVICES: all}
xpu:
  nodes:
    intel.feature.node.kubernetes.io/gpu: "true"
    feature.node.kubernetes.io/pci-0300_8086.present: "true"
    feature.node.kubernetes.io/pci-0380_8086.present: "true"
  root: true
  capabilities: [DAC_READ_SEARCH, PERFMON, SYS_PTRACE]
  roots: [procfs, sysfs]
npu:
  nodes:
    intel.feature.node.kubernetes.io/npu: "true"
    feature.node.kubernetes.io/pci-1200_8086.present: "true"
  root: true
  roots: [sysfs]
amx:
  nodes:
    feature.node.kubernetes.io/cpu-cpuid.AMXTILE: "true"
  root: true
  capabilities: [PERFMON]
  roots: [sysfs]
{{- end }}

{{/*
The sum of what the chosen sources need, as YAML: nodes (a list, because one label may have several values), env, root,
capabilities, roots, and kubelet: the folder of its socket where it is asked.
*/}}
{{- define "accelscope.needs" -}}
{{- $families := include "accelscope.families" . | fromYaml -}}
{{- $chosen := .Values.sources -}}
{{- if has "auto" $chosen }}{{ $chosen = list "nvidia" "gaudi" "xpu" "npu" "amx" }}{{ end -}}
{{- $sum := dict "nodes" list "env" dict "capabilities" list "roots" list "root" false -}}
{{- range $family := $chosen -}}
{{- $own := get $families $family -}}
{{- range $key, $value := $own.nodes -}}
{{- $_ := set $sum "nodes" (append $sum.nodes (dict "key" $key "value" $value)) -}}
{{- end -}}
{{- $_ := merge $sum.env ($own.env | default dict) -}}
{{- if ne $.Values.privileges "none" -}}
{{- $_ := set $sum "roots" (concat $sum.roots ($own.roots | default list) | uniq | sortAlpha) -}}
{{- $_ := set $sum "capabilities" (concat $sum.capabilities ($own.capabilities | default list) | uniq | sortAlpha) -}}
{{- $_ := set $sum "root" (or $sum.root ($own.root | default false)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.workloads.enabled (ne .Values.privileges "none") -}}
{{- $_ := set $sum "root" true -}}
{{- $_ := set $sum "kubelet" (print .Values.workloads.kubeletFolder "/pod-resources") -}}
{{- end -}}
{{ toYaml $sum }}
{{- end }}

{{/*
The folders of the host that each file system is read from. Of sysfs all but the control groups, which root may write
where a runtime cannot make a mount read-only with all below it; a privileged container has it whole.
*/}}
{{- define "accelscope.folders" -}}
procfs: [/proc]
{{- if eq .Values.privileges "full" }}
sysfs: [/sys]
{{- else }}
sysfs: [/sys/bus, /sys/class, /sys/devices, /sys/module]
{{- end }}
{{- end }}

{{/* Where pods send alerts of other nodes on to; nothing with TLS, since they speak plain HTTP to one another. */}}
{{- define "accelscope.peers" -}}
{{- if and .Values.incident.secretName (not .Values.webConfig.tls) -}}
{{ include "accelscope.fullname" . }}.{{ .Release.Namespace }}.svc:{{ .Values.port }}
{{- end -}}
{{- end }}

{{/* Target labels that do not change when a pod is replaced: job, instance and node. */}}
{{- define "accelscope.endpoint" -}}
{{- $monitor := .monitor -}}
- port: metrics
  path: /metrics
  interval: {{ $monitor.interval }}
  scrapeTimeout: {{ $monitor.scrapeTimeout }}
  {{- if .root.Values.webConfig.tls }}
  scheme: https
  {{- end }}
  {{- range $key := list "tlsConfig" "basicAuth" "authorization" }}
  {{- with get $monitor $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  relabelings:
  - targetLabel: job
    replacement: {{ include "accelscope.fullname" .root }}
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: instance
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
  - action: labeldrop
    regex: container|endpoint|namespace|pod|service
  {{- with $monitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with $monitor.metricRelabelings }}
  metricRelabelings:
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
