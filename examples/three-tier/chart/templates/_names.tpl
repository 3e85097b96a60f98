{{- define "three-tier.labels" -}}
app.kubernetes.io/name: {{ .tier }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/part-of: three-tier
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}
{{- define "three-tier.selector" -}}
app.kubernetes.io/name: {{ .tier }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end }}
{{- define "three-tier.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end }}
